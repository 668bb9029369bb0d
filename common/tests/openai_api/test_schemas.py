"""What requests are taken, held against the `openai` package's own types, and what is said of others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from engineroom.errors import APIError
from engineroom.openai import messages
from engineroom.openai.schemas import ChatRequest, CompletionRequest, EmbeddingRequest
from engineroom.openai.serving import tool_choice
from engineroom.openai.validation import check

HELLO = [{"role": "user", "content": "hello"}]


def fields_of(typed_dict: Any) -> set[str]:
    return set(typed_dict.__required_keys__ | typed_dict.__optional_keys__)


@pytest.mark.parametrize(
    ("schema", "params"),
    [
        (ChatRequest, chat_create_params.CompletionCreateParamsStreaming),
        (CompletionRequest, completion_create_params.CompletionCreateParamsStreaming),
        (EmbeddingRequest, embedding_create_params.EmbeddingCreateParams),
    ],
)
def test_the_fields_are_those_of_the_openai_package(schema: type[msgspec.Struct], params: Any) -> None:
    assert set(schema.__struct_fields__) == fields_of(params)


@pytest.mark.parametrize("role", ["developer", "system", "user", "assistant", "tool", "function"])
def test_the_messages_are_those_of_the_openai_package(role: str) -> None:
    import openai.types.chat as types

    ours = getattr(messages, f"{role.title()}Message")
    theirs = getattr(types, f"ChatCompletion{role.title()}MessageParam")
    assert {*ours.__struct_fields__, "role"} == fields_of(theirs)


def test_the_literals_are_those_of_the_openai_package() -> None:
    from typing import get_args, get_type_hints

    params = get_type_hints(chat_create_params.CompletionCreateParamsBase)
    ours = get_type_hints(ChatRequest)
    for name in ("reasoning_effort", "verbosity", "service_tier", "prompt_cache_retention"):
        assert literals(params[name]) <= literals(ours[name]), name
    assert {"none", "auto", "required"} <= literals(ours["tool_choice"])
    assert get_args(messages.AnyMessage)


def literals(annotation: Any) -> set[str]:
    from typing import Literal, get_args, get_origin

    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return set().union(*(literals(part) for part in get_args(annotation)), set())


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}], "name": "me"}]},
        {"messages": [{"role": "developer", "content": "x"}, {"role": "system", "content": "y"}, *HELLO]},
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "42"}]},
            ]
        },
        {
            "messages": [
                *HELLO,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "42"},
            ]
        },
        {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, *HELLO]},
        {"stop": "x"},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stop": None, "n": None, "temperature": None, "tools": None, "stream": None, "response_format": None},
        {"temperature": 1, "top_p": 0, "frequency_penalty": -2, "presence_penalty": 2.0, "seed": -1, "n": 128},
        {"n": 2.0, "max_tokens": 7.0, "seed": 0.0},
        {"logit_bias": {"50256": -100}, "logprobs": True, "top_logprobs": 20, "user": "me", "store": False},
        {"metadata": {"k": "v"}, "modalities": ["text"], "service_tier": "auto", "prompt_cache_key": "k"},
        {"prediction": {"type": "content", "content": "hello"}, "reasoning_effort": "none", "verbosity": "low"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {
            "tools": [TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        },
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {"functions": [TOOL["function"]], "function_call": {"name": "f"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": None}}},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"top_k": 3, "anything": {"else": []}},
    ],
    ids=lambda fields: "+".join(fields),
)
def test_what_is_taken(fields: dict[str, Any]) -> None:
    check({"model": "m", "messages": HELLO, **fields}, ChatRequest)


@pytest.mark.parametrize(
    ("fields", "param", "code", "message"),
    [
        ({"messages": None}, "messages", "invalid_type", "expected an array, but got null"),
        ({"messages": []}, "messages", "array_below_min_length", "minimum length 1"),
        ({"messages": "hi"}, "messages", "invalid_type", "expected an array, but got a string"),
        ({"messages": ["hi"]}, "messages.0", "invalid_type", "expected an object, but got a string"),
        ({"messages": [{"content": "x"}]}, "messages.0.role", "missing_required_parameter", "'messages.0.role'"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages.0.role", "invalid_value", "'bot'"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing_required_parameter", "Missing"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content", "invalid_type", "a string or an array"),
        (
            {"messages": [*HELLO, {"role": "user", "content": [{"type": "video"}]}]},
            "messages.1.content.0.type",
            "invalid_value",
            "'video'",
        ),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value", "<= 2, but got 2.5"),
        ({"temperature": "hot"}, "temperature", "invalid_type", "expected a decimal, but got a string"),
        ({"n": 0}, "n", "integer_below_min_value", ">= 1, but got 0"),
        ({"n": 1.5}, "n", "invalid_type", "expected an integer, but got a decimal"),
        ({"n": True}, "n", "invalid_type", "but got a boolean"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value", ">= 1"),
        ({"stop": 7}, "stop", "invalid_type", "one of a string or an array"),
        ({"logit_bias": {"1": "x"}}, "logit_bias.1", "invalid_type", "expected a decimal, but got a string"),
        ({"logit_bias": {"1": 5, "2": 101}}, "logit_bias.2", "decimal_above_max_value", "<= 100, but got 101"),
        ({"metadata": {"a": "b", "c": 1}}, "metadata.c", "invalid_type", "expected a string, but got an integer"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "string_above_max_length", "length 513"),
        ({"prediction": {"type": "content", "content": False}}, "prediction.content", "invalid_type", "a boolean"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value", "'huge'"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value", "'xml'"),
        ({"tools": [{"type": "function"}]}, "tools.0.function", "missing_required_parameter", "tools.0.function"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools.0.function.name",
            "invalid_value",
            "pattern",
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_what_is_refused(fields: dict[str, Any], param: str, code: str, message: str) -> None:
    with pytest.raises(APIError) as caught:
        check({"model": "m", "messages": HELLO, **fields}, ChatRequest)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    assert (caught.value.param, caught.value.code) == (param, code)
    assert message in caught.value.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field(missing: str) -> None:
    body = {"model": "m", "messages": HELLO}
    del body[missing]
    with pytest.raises(APIError, match=f"Missing required parameter: '{missing}'"):
        check(body, ChatRequest)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"functions": [TOOL["function"]], "function_call": {"name": "g"}}, "function_call"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools.0.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice"),
    ],
)
def test_a_choice_that_the_tools_do_not_offer(fields: dict[str, Any], param: str) -> None:
    body = {"model": "m", "messages": HELLO, **fields}
    with pytest.raises(APIError) as caught:
        tool_choice.choose(check(body, ChatRequest), body)
    assert caught.value.param == param
