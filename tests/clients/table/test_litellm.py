"""LiteLLM as a library, with its providers for OpenAI's and Anthropic's APIs."""

from __future__ import annotations

from typing import Any

import pytest
from client_cases import (
    BRIEF,
    CHAT_TOOL,
    LIMIT,
    QUESTION,
    RESPONSES_TOOL,
    WANTS_CITY,
    WANTS_WEATHER,
    WEATHER,
    City,
    JudgedServer,
)

pytest.importorskip("litellm", reason="the other clients are not installed here; `make clients` does that")

import litellm

CLIENT, PACKAGE = "litellm", "litellm"
both_chats = pytest.mark.parametrize("surface", ["chat", "Messages"])
responses = pytest.mark.parametrize("surface", ["Responses"])


def asked(surface: str, server: JudgedServer) -> dict[str, Any]:
    """Where `litellm.completion` sends a chat: OpenAI's and Anthropic's APIs look alike to its callers."""
    provider, base = ("anthropic", server.url) if surface == "Messages" else ("openai", server.openai_url)
    common = {"api_base": base, "api_key": "any", "max_retries": 0}
    return {"model": f"{provider}/{server.model}", **common}


@both_chats
def test_whole(server: JudgedServer, surface: str) -> None:
    turns = [{"role": "user", "content": QUESTION}]
    answer = litellm.completion(messages=turns, max_tokens=BRIEF, **asked(surface, server))
    server.check_text(answer.choices[0].message.content)


@both_chats
def test_streamed(server: JudgedServer, surface: str) -> None:
    turns = [{"role": "user", "content": QUESTION}]
    stream = litellm.completion(messages=turns, max_tokens=BRIEF, stream=True, **asked(surface, server))
    server.check_text("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))


@both_chats
def test_structured_output(server: JudgedServer, surface: str) -> None:
    turns = [{"role": "user", "content": WANTS_CITY}]
    answer = litellm.completion(messages=turns, max_tokens=LIMIT, response_format=City, **asked(surface, server))
    City.model_validate_json(answer.choices[0].message.content)


@both_chats
def test_tools(server: JudgedServer, surface: str) -> None:
    turns: list[Any] = [{"role": "user", "content": WANTS_WEATHER}]
    common = {"max_tokens": LIMIT, "tools": [CHAT_TOOL], **asked(surface, server)}
    message = litellm.completion(messages=turns, tool_choice="required", **common).choices[0].message
    call = message.tool_calls[0]
    server.check_arguments(call.function.arguments)
    turns += [message, {"role": "tool", "tool_call_id": call.id, "content": WEATHER}]
    answer = litellm.completion(messages=turns, tool_choice="none", **common)
    server.check_text(answer.choices[0].message.content, WEATHER)


@responses
def test_responses_whole(server: JudgedServer, surface: str) -> None:
    response = litellm.responses(input=QUESTION, max_output_tokens=BRIEF, **asked(surface, server))
    server.check_text(text_of(response))


@responses
def test_responses_streamed(server: JudgedServer, surface: str) -> None:
    stream = litellm.responses(input=QUESTION, max_output_tokens=BRIEF, stream=True, **asked(surface, server))
    events = list(stream)
    server.check_text("".join(event.delta for event in events if event.type == "response.output_text.delta"))
    assert events[-1].type in ("response.completed", "response.incomplete")


@responses
def test_responses_structured_output(server: JudgedServer, surface: str) -> None:
    response = litellm.responses(input=WANTS_CITY, max_output_tokens=LIMIT, text_format=City, **asked(surface, server))
    City.model_validate_json(text_of(response))


@responses
def test_responses_tools(server: JudgedServer, surface: str) -> None:
    common = {"max_output_tokens": LIMIT, "tools": [RESPONSES_TOOL], **asked(surface, server)}
    first = litellm.responses(input=WANTS_WEATHER, tool_choice="required", **common)
    call = next(item for item in first.output if item.type == "function_call")
    server.check_arguments(call.arguments)
    turns = [
        {"role": "user", "content": WANTS_WEATHER},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER},
    ]
    server.check_text(text_of(litellm.responses(input=turns, tool_choice="none", **common)), WEATHER)


def text_of(response: Any) -> str:
    return "".join(part.text for item in response.output if item.type == "message" for part in item.content)
