"""Answers of every kind against OpenAI's specification, streamed and not."""

from __future__ import annotations

from typing import Any

import pytest

from .held import CONFORMANCE, schema

HELLO = [{"role": "user", "content": "what is the weather? 😀"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("weather", "clock")]
NAMED = {"type": "function", "function": {"name": "clock"}}
JSON = {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS, "strict": True}}

CHATS: list[dict[str, Any]] = [
    {},
    {"n": 3, "max_tokens": 2},
    {"stop": "?"},
    {"logprobs": True, "top_logprobs": 3},
    {"tools": TOOLS},
    {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": TOOLS, "tool_choice": NAMED, "n": 2},
    {"functions": [TOOLS[0]["function"]]},
    {"response_format": JSON},
    {"response_format": {"type": "json_object"}},
]
COMPLETIONS: list[dict[str, Any]] = [
    {"prompt": "hello"},
    {"prompt": ["a", "b"], "n": 2, "echo": True},
    {"prompt": [[65, 66]], "logprobs": 5},
    {"prompt": "", "max_tokens": 0},
]
STREAMS: list[dict[str, Any]] = [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}]


def ask(url: str, path: str, body: dict[str, Any]) -> int:
    """Hold the answer against the document; its status."""
    case = schema[path]["POST"].Case(body={"model": "echo", **body}, media_type="application/json")
    response = case.call(base_url=url, timeout=30)
    case.validate_response(response, checks=list(CONFORMANCE))
    return response.status_code


@pytest.mark.parametrize("stream", STREAMS, ids=lambda fields: "+".join(fields) or "whole")
@pytest.mark.parametrize("fields", CHATS, ids=lambda fields: "+".join(fields) or "plain")
def test_a_chat(url: str, fields: dict[str, Any], stream: dict[str, Any]) -> None:
    assert ask(url, "/chat/completions", {"messages": HELLO, **fields, **stream}) == 200


@pytest.mark.parametrize("stream", STREAMS, ids=lambda fields: "+".join(fields) or "whole")
@pytest.mark.parametrize("fields", COMPLETIONS, ids=lambda fields: "+".join(fields))
def test_a_completion(url: str, fields: dict[str, Any], stream: dict[str, Any]) -> None:
    assert ask(url, "/completions", {**fields, **stream}) == 200


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_an_embedding(url: str, encoding: str) -> None:
    assert ask(url, "/embeddings", {"input": ["a", "b"], "encoding_format": encoding}) == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": []}, 400),
        ({"messages": HELLO, "model": "nobody"}, 404),
        ({"messages": HELLO, "temperature": 9}, 400),
        ({"messages": [{"role": "user", "content": "x" * 20_000}]}, 400),
    ],
)
def test_an_error(url: str, body: dict[str, Any], status: int) -> None:
    assert ask(url, "/chat/completions", body) == status
