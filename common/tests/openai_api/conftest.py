"""A served echo engine, and the clients that speak to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest
from http_door import serving


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A server whose engine echoes, with a context of 4096 tokens and two model names."""
    with serving({"SERVED_MODEL_NAME": "echo,org/echo", "ECHO_MAX_MODEL_LEN": "4096"}) as door:
        yield door.url


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client; it does not retry, so that each answer is seen."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def http(url: str) -> Iterator[httpx.Client]:
    """A plain HTTP client, for what OpenAI's would not send and for the bytes of an answer."""
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client
