"""The server that LangChain's tests ask: echo, behind the HTTP door."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator

import httpx
import pytest
from langchain_tests.integration_tests import chat_models

from engineroom_workers.testing import serving

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

os.environ["LANGSMITH_TRACING"] = "false"


@pytest.fixture(scope="session", autouse=True)
def url() -> Iterator[str]:
    """The root of the server."""
    with serving({"ENGINE": "echo"}) as door:
        os.environ["JUDGED_URL"] = door.url
        yield door.url


@pytest.fixture(autouse=True)
def _image_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite fetches its image from a server far away; a pixel does as well."""
    elsewhere = httpx.Response(200, content=base64.b64decode(PIXEL))
    monkeypatch.setattr(chat_models.httpx, "get", lambda url, **options: elsewhere)
