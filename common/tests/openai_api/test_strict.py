"""Requests that are looked at before they pass to an engine that would ignore a field."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.routes import CHAT_COMPLETIONS
from engineroom.openai.strict import checked, only_honoured, refuse, shown_messages

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}


def test_nulls_are_left_out_and_unknown_fields_left_alone() -> None:
    assert checked(CHAT_COMPLETIONS, {**ASKED, "n": None, "min_p": 0.1}) == {**ASKED, "min_p": 0.1}
    assert checked("/v1/elsewhere", {"n": "x", "a": None}) == {"n": "x"}
    with pytest.raises(APIError) as refused:
        checked(CHAT_COMPLETIONS, {**ASKED, "temperature": 9})
    assert refused.value.param == "temperature"


def test_a_field_that_would_be_ignored_is_refused_by_name() -> None:
    refuse({"suffix": None, "echo": False}, {"suffix": "", "echo": ""}, "Engine")
    with pytest.raises(APIError, match="Engine does not support 'echo'; set ECHO=true") as refused:
        refuse({"echo": True}, {"echo": "set ECHO=true"}, "Engine")
    assert (refused.value.param, refused.value.code) == ("echo", "unsupported_parameter")


HONOURED = {CHAT_COMPLETIONS: frozenset({"messages", "tools", "tool_choice", "min_p"})}


def kept(**fields: Any) -> dict[str, Any]:
    return only_honoured(CHAT_COMPLETIONS, {**ASKED, **fields}, HONOURED, "Engine", {"functions": "use 'tools'"})


def test_what_asks_for_nothing_or_has_no_effect_is_left_out() -> None:
    assert kept(min_p=0.1) == {**ASKED, "min_p": 0.1}
    nothing = {"modalities": ["text"], "verbosity": "medium", "echo": False, "n": 1, "audio": None, "logit_bias": {}}
    assert kept(**nothing, metadata={"a": "b"}, prediction={"type": "content"}) == ASKED
    same = {"anything": True}
    assert only_honoured("/v1/elsewhere", same, HONOURED, "Engine") is same


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"verbosity": "low"}, "Engine does not support 'verbosity'."),
        ({"functions": [{"name": "f"}]}, "Engine does not support 'functions'; use 'tools'."),
        ({"parallel_tool_calls": False}, "Engine does not support 'parallel_tool_calls'."),
        ({"web_search_options": {}}, "Engine does not support 'web_search_options'."),
        ({"temprature": 0.5}, "Unrecognized request argument supplied: temprature"),
    ],
)
def test_what_the_engine_would_ignore_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(APIError) as refused:
        kept(**fields)
    assert (refused.value.message, refused.value.param) == (message, next(iter(fields)))


def test_only_the_tools_that_are_allowed_are_sent() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools[:1]}}
    sent = kept(tools=tools, tool_choice=choice)
    assert (sent["tools"], sent["tool_choice"]) == (tools[:1], "required")
    with pytest.raises(APIError, match="'a' is not among 'tools'"):
        kept(tools=tools[1:], tool_choice=choice)


MEMBERS = frozenset({"content", "reasoning_content", "role", "tool_call_id", "tool_calls"})
CALL = {"name": "f", "arguments": "{}"}


def test_what_a_message_says_stands_where_a_server_looks_for_it() -> None:
    user = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}], "name": None}
    assert shown_messages(
        [
            user,
            {"role": "assistant", "content": None, "refusal": "No.", "annotations": [{"a": 1}], "audio": None},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "Never."},
            {"role": "assistant", "content": "Well.", "reasoning": "Hm.", "tool_calls": []},
            {"role": "assistant", "content": None, "function_call": CALL},
            {"role": "function", "content": "5", "name": "f"},
            {"role": "tool", "content": "5", "name": "f", "tool_call_id": "c"},
            "no message",
        ],
        MEMBERS,
        "Engine",
    ) == [
        {"role": "user", "content": user["content"]},
        {"role": "assistant", "content": "No."},
        {"role": "assistant", "content": [{"type": "text", "text": "No."}, {"type": "text", "text": "Never."}]},
        {"role": "assistant", "content": "Well.", "reasoning_content": "Hm."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_4", "type": "function", "function": CALL}]},
        {"role": "tool", "content": "5", "tool_call_id": "call_4"},
        {"role": "tool", "content": "5", "tool_call_id": "c"},
        "no message",
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "assistant"}, "messages.0.content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "messages.0.content"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "messages.0.tool_calls.0.function.arguments",
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{'a': 1}"}},
            "messages.0.tool_calls.0.function.arguments",
        ),
    ],
)
def test_what_no_template_could_be_given_is_refused(message: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as refused:
        shown_messages([message], MEMBERS, "Engine")
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": []}, "tool_choice"),
        ({"chat_template_kwargs": 5}, "chat_template_kwargs"),
    ],
)
def test_what_means_nothing_without_another_field_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as refused:
        checked(CHAT_COMPLETIONS, {**ASKED, **fields})
    assert refused.value.param == param
    nothing = {"top_logprobs": 0, "tool_choice": "auto", "chat_template_kwargs": {}}
    assert checked(CHAT_COMPLETIONS, {**ASKED, **nothing}) == {**ASKED, **nothing}


@pytest.mark.parametrize(("stop", "sent"), [("", []), ([""], []), (["", "x"], ["x"]), ("x", ["x"])])
def test_an_empty_stop_string_is_none(stop: object, sent: list[str]) -> None:
    assert checked(CHAT_COMPLETIONS, {**ASKED, "stop": stop})["stop"] == sent


@pytest.mark.parametrize("member", ["name", "audio", "prefix", "unheard_of"])
def test_a_member_that_the_model_would_not_be_shown_is_refused_by_name(member: str) -> None:
    with pytest.raises(APIError, match=f"Engine does not support 'messages.1.{member}'") as refused:
        shown_messages(
            [{"role": "user", "content": "x"}, {"role": "user", "content": "x", member: "y"}], MEMBERS, "Engine"
        )
    assert refused.value.param == f"messages.1.{member}"
