"""What a chat template is given, and what a client may set for it."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.serving import chat_template

USER = {"role": "user", "content": "hello"}
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}{{ tools }}"


def call(arguments: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize("arguments", ['{"a": 1}', ""])
def test_a_call_s_arguments_are_an_object(arguments: str) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [call(arguments)]}
    _, fitted = chat_template.fitted([USER, message], TEMPLATE, None)
    assert fitted["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1} if arguments else {}}
    assert fitted["tool_calls"][0]["id"] == "c1"
    assert message["tool_calls"] == [call(arguments)], "what was sent is left alone"


def test_functions_are_shown_as_tools() -> None:
    message = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    asked, answered = chat_template.fitted([message, {"role": "function", "name": "f", "content": "1"}], TEMPLATE, None)
    assert asked["tool_calls"] == [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    assert "function_call" not in asked
    assert answered["role"] == "tool"


@pytest.mark.parametrize(("template", "role"), [(TEMPLATE, "system"), ("{# developer #}" + TEMPLATE, "developer")])
def test_a_developer_is_the_system_where_the_template_knows_none(template: str, role: str) -> None:
    (fitted,) = chat_template.fitted([{"role": "developer", "content": "x"}], template, None)
    assert fitted["role"] == role


@pytest.mark.parametrize(
    ("messages", "template", "tools", "param"),
    [
        ([USER], "", None, "messages"),
        ([USER], "{{ messages }}", [{"type": "function"}], "tools"),
        (
            [USER, {"role": "assistant", "content": "", "tool_calls": [call("{a")]}],
            TEMPLATE,
            None,
            "messages.1.tool_calls.0.function.arguments",
        ),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{"type": "custom", "custom": {"name": "x"}}]}],
            TEMPLATE,
            None,
            "messages.0.tool_calls.0",
        ),
    ],
)
def test_what_does_not_fit_is_named(messages: Any, template: str, tools: Any, param: str) -> None:
    with pytest.raises(APIError) as caught:
        chat_template.fitted(messages, template, tools)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, {"add_generation_prompt": True}),
        ({"add_generation_prompt": False}, {"add_generation_prompt": False}),
        ({"continue_final_message": True}, {"add_generation_prompt": False, "continue_final_message": True}),
        (
            {"chat_template_kwargs": {"continue_final_message": True}},
            {"add_generation_prompt": False, "continue_final_message": True},
        ),
        (
            {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}, "temperature": 1},
            {"add_generation_prompt": True, "reasoning_effort": "low", "enable_thinking": False},
        ),
        ({"chat_template_kwargs": None, "add_generation_prompt": None}, {"add_generation_prompt": True}),
    ],
    ids=str,
)
def test_a_request_s_variables(request_: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chat_template.variables(request_) == expected


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"chat_template_kwargs": "x"}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template_kwargs.chat_template"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"continue_final_message": "yes"}, "continue_final_message"),
    ],
    ids=str,
)
def test_what_a_client_may_not_set_is_named(request_: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as caught:
        chat_template.variables(request_)
    assert (caught.value.status, caught.value.param) == (400, param)
