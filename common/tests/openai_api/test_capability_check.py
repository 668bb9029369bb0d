"""What an engine does not declare is refused by name; what it declares, and what nobody asked for, passes."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.engine import ASSUMED, Capabilities, ToolUse
from engineroom.errors import APIError
from engineroom.openai.capability_check import check_capabilities

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
NOTHING = Capabilities()


def content(*parts: dict[str, Any], field: str = "messages") -> dict[str, Any]:
    return {field: [{"role": "system", "content": "x"}, {"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("path", "json", "param"),
    [
        (CHAT, {"n": 2}, "n"),
        (COMPLETIONS, {"n": 2.0}, "n"),
        (CHAT, {"logprobs": True, "top_logprobs": 2}, "logprobs"),
        (CHAT, {"logprobs": False, "top_logprobs": 2}, "top_logprobs"),
        (COMPLETIONS, {"logprobs": 0}, "logprobs"),
        (CHAT, {"response_format": SCHEMA}, "response_format"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"tools": TOOLS}, "tools"),
        (CHAT, {"tools": TOOLS, "tool_choice": "required"}, "tools"),
        (CHAT, {"functions": [{"name": "f"}]}, "functions"),
        (RESPONSES, {"tools": TOOLS}, "tools"),
        (MESSAGES, {"tools": TOOLS, "tool_choice": {"type": "auto"}}, "tools"),
        (CHAT, content({"type": "text", "text": "x"}, {"type": "image_url"}), "messages.1.content.1"),
        (CHAT, content({"type": "input_audio"}), "messages.1.content.0"),
        (MESSAGES, content({"type": "image"}), "messages.1.content.0"),
        (RESPONSES, content({"type": "input_image"}, field="input"), "input.1.content.0"),
    ],
)
def test_what_is_not_declared_is_a_400_that_names_the_field(path: str, json: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as refused:
        check_capabilities(path, json, NOTHING)
    assert (refused.value.status, refused.value.param) == (400, param)
    check_capabilities(path, json, ASSUMED)


@pytest.mark.parametrize(
    ("path", "json"),
    [
        (CHAT, {"n": 1, "logprobs": False, "top_logprobs": 0, "tools": [], "response_format": {"type": "text"}}),
        (CHAT, {"tools": TOOLS, "tool_choice": "none"}),
        (MESSAGES, {"tools": TOOLS, "tool_choice": {"type": "none"}}),
        (CHAT, {"functions": [{"name": "f"}], "function_call": "none"}),
        (CHAT, content({"type": "text", "text": "x"}, {"type": "of the engine's own"})),
        (COMPLETIONS, {"prompt": "x", "logprobs": None}),
        ("/v1/embeddings", {"input": ["x"], "n": 3}),
    ],
)
def test_what_nobody_asks_for_passes(path: str, json: dict[str, Any]) -> None:
    check_capabilities(path, json, NOTHING)


@pytest.mark.parametrize(
    "json",
    [
        {"n": "two", "logprobs": "", "response_format": "json_schema", "tool_choice": 3},
        {"messages": "x", "input": {"content": []}},
        {"messages": [None, "x", {"content": [None, 3, {"type": ["image_url"]}]}]},
    ],
)
def test_wrong_types_are_left_to_who_checks_types(json: dict[str, Any]) -> None:
    check_capabilities(CHAT, json, NOTHING)


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ("none", None, "tools"),
        ("none", "none", None),
        ("optional", None, None),
        ("optional", "auto", None),
        ("optional", "required", "tool_choice"),
        ("optional", {"type": "function", "function": {"name": "f"}}, "tool_choice"),
        ("optional", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, None),
        ("optional", {"type": "allowed_tools", "mode": "auto", "tools": []}, None),
        ("optional", {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}, "tool_choice"),
        ("optional", {"type": "allowed_tools", "allowed_tools": 5}, "tool_choice"),
        ("forced", "required", None),
    ],
)
def test_tools_that_would_be_ignored_are_refused(tools: ToolUse, choice: object, param: str | None) -> None:
    request = {"tools": TOOLS, "tool_choice": choice}
    if param is None:
        check_capabilities(CHAT, request, Capabilities(tools=tools))
        return
    with pytest.raises(APIError) as refused:
        check_capabilities(CHAT, request, Capabilities(tools=tools))
    assert refused.value.param == param


def test_a_demanded_call_needs_more_than_tools() -> None:
    optional = Capabilities(tools="optional")
    check_capabilities(CHAT, {"tools": TOOLS, "tool_choice": "auto"}, optional)
    for choice in ("required", {"type": "function", "function": {"name": "f"}}, {"type": "any"}):
        with pytest.raises(APIError) as refused:
            check_capabilities(CHAT, {"tools": TOOLS, "tool_choice": choice}, optional)
        assert refused.value.param == "tool_choice"


def test_an_engine_s_own_reason_is_what_clients_read() -> None:
    narrowed = ASSUMED.narrow("LOGPROBS=true switches them on.", logprobs=False)
    assert ASSUMED.logprobs, "narrowing makes new capabilities"
    with pytest.raises(APIError, match="LOGPROBS=true switches them on"):
        check_capabilities(CHAT, {"logprobs": True}, narrowed)
    check_capabilities(CHAT, {"n": 2}, narrowed)


def test_capabilities_have_words_for_people() -> None:
    assert NOTHING.words() == []
    surfaces = frozenset({"embeddings", "chat"})
    some = Capabilities(surfaces=surfaces, tools="optional", several_choices=True)  # type: ignore[arg-type]
    assert some.words() == ["chat", "responses", "messages", "embeddings", "tools (auto only)", "several choices"]
