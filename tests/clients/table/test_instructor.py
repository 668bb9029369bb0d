"""instructor: a model of pydantic's as the answer, by a tool or by a schema, whole and in parts."""

from __future__ import annotations

from typing import Any

import pytest
from client_cases import LIMIT, City, JudgedServer

pytest.importorskip("instructor", reason="the other clients are not installed here; `make clients` does that")

import anthropic
import instructor
import openai

CLIENT, PACKAGE = "instructor", "instructor"
# Mode.ANTHROPIC_JSON is left out: it only asks for JSON in words, which is between the model and it.
PLACES = [
    ("chat", instructor.Mode.TOOLS),
    ("chat", instructor.Mode.JSON_SCHEMA),
    ("Responses", instructor.Mode.RESPONSES_TOOLS),
    ("Messages", instructor.Mode.ANTHROPIC_TOOLS),
]
pytestmark = pytest.mark.parametrize(("surface", "mode"), PLACES)
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "A City."}],
    "response_model": City,
    "max_retries": 0,
}


def client_of(surface: str, mode: instructor.Mode, server: JudgedServer) -> Any:
    if surface == "Messages":
        claude = anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0)
        return instructor.from_anthropic(claude, mode=mode)
    client = openai.OpenAI(base_url=server.openai_url, api_key="any", max_retries=0)
    return instructor.from_openai(client, mode=mode)


def limit(surface: str) -> dict[str, Any]:
    return {"max_output_tokens" if surface == "Responses" else "max_tokens": LIMIT}


def test_structured_output(server: JudgedServer, surface: str, mode: instructor.Mode) -> None:
    client = client_of(surface, mode, server)
    assert isinstance(client.create(model=server.model, **ASKED, **limit(surface)), City)


def test_structured_output_streamed(server: JudgedServer, surface: str, mode: instructor.Mode) -> None:
    client = client_of(surface, mode, server)
    parts = list(client.create_partial(model=server.model, **ASKED, **limit(surface)))
    assert City.model_validate(parts[-1].model_dump())
