"""A served echo engine, and the clients that speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import openai
import pytest


@pytest.fixture(scope="session")
def url(serve: Callable[..., str]) -> str:
    """A server whose engine echoes, with a context of 4096 tokens and two model names."""
    return serve(ENGINE="echo", SERVED_MODEL_NAME="echo,org/echo", ECHO_MAX_MODEL_LEN="4096")


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client; it does not retry, so that each answer is seen."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """A plain HTTP client, for what OpenAI's would not send and for the bytes of an answer."""
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client
