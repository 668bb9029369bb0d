"""Chat completions through a real server, with OpenAI's own client and against its own types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from engineroom.openai.aggregate import CompletionAggregator
from engineroom.openai.sse import payloads

from ..strict_types import strictly

UNICODE = "Grüße 👩‍👩‍👧 日本語 और नमस्ते\n"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "minLength": 3}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city", "days"],
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock"}}
NAMED = {"type": "function", "function": {"name": "weather"}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def ask(text: str = UNICODE, **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}


def whole(http: httpx.Client, body: dict[str, Any]) -> ChatCompletion:
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return strictly(ChatCompletion, answer.content)


def chunks(http: httpx.Client, body: dict[str, Any]) -> list[ChatCompletionChunk]:
    answer = http.post("/v1/chat/completions", json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done = payloads(answer.content)
    assert done == b"[DONE]"
    return [strictly(ChatCompletionChunk, event) for event in events]


def text_of(chunks: Sequence[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index)


def test_an_answer(http: httpx.Client) -> None:
    answer = whole(http, ask())
    choice, usage = answer.choices[0], answer.usage
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "echo"
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", UNICODE, None)
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens == (len(UNICODE.encode()) + 1) // 2


def test_fields_that_must_be_there_although_null(http: httpx.Client) -> None:
    choice = http.post("/v1/chat/completions", json=ask()).json()["choices"][0]
    assert choice["logprobs"] is None
    assert choice["message"]["refusal"] is None


def test_a_stream(http: httpx.Client) -> None:
    received = chunks(http, ask())
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in received}) == 1
    first, last = received[0].choices[0], received[-1].choices[0]
    assert (first.delta.role, first.delta.content, first.finish_reason) == ("assistant", "", None)
    assert (last.delta.model_dump(exclude_unset=True), last.finish_reason) == ({}, "stop")
    assert text_of(received) == UNICODE
    assert "\ufffd" not in text_of(received)
    assert all("usage" not in chunk.model_fields_set for chunk in received)


def test_usage_at_the_end_of_a_stream(http: httpx.Client) -> None:
    received = chunks(http, ask(stream_options={"include_usage": True}))
    assert received[-1].choices == []
    assert received[-1].usage == whole(http, ask()).usage
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in received[:-1])


def test_max_tokens(http: httpx.Client) -> None:
    for field in ("max_tokens", "max_completion_tokens"):
        answer = whole(http, ask("abcdefgh", **{field: 3}))
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("abcdef", "length")
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 3
    assert whole(http, ask("abcdefgh", max_tokens=1, max_completion_tokens=2)).choices[0].message.content == "abcd"


def test_max_tokens_is_lowered_to_the_context(http: httpx.Client) -> None:
    answer = whole(http, ask("ab" * 3000, max_tokens=1_000_000))
    assert answer.usage is not None
    assert answer.usage.total_tokens == 4096
    assert answer.choices[0].finish_reason == "length"


def test_stop_strings_are_cut_across_tokens(http: httpx.Client) -> None:
    for stop, expected in (("日本", "Grüße 👩‍👩‍👧 "), (["never", "e "], "Grüß"), (["\n"], UNICODE[:-1])):
        answer = whole(http, ask(stop=stop))
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (expected, "stop")
        received = chunks(http, ask(stop=stop))
        assert (text_of(received), received[-1].choices[0].finish_reason) == (expected, "stop")
    assert whole(http, ask(stop=["", "zzz"])).choices[0].message.content == UNICODE


def test_several_choices(http: httpx.Client) -> None:
    answer = whole(http, ask("hello", n=3))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3
    received = chunks(http, ask("hello " * 20, n=3, echo_tokens_per_s=60))
    order = [chunk.choices[0].index for chunk in received]
    assert sorted(set(order)) == [0, 1, 2]
    assert order != sorted(order), "the choices came one after the other"
    assert sum(chunk.choices[0].finish_reason == "stop" for chunk in received) == 3


def test_content_parts_and_every_role(http: httpx.Client) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [
        {"role": "developer", "content": parts},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": parts},
    ]
    assert whole(http, {"model": "echo", "messages": messages}).choices[0].message.content == "one\ntwo"


def test_a_schema(http: httpx.Client) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    content = whole(http, ask(response_format=schema)).choices[0].message.content
    assert content is not None
    assert json.loads(content) == {"name": UNICODE, "age": 18}
    content = whole(http, ask(response_format={"type": "json_object"})).choices[0].message.content
    assert content is not None
    assert isinstance(json.loads(content), dict)
    assert whole(http, ask(response_format={"type": "text"})).choices[0].message.content == UNICODE


@pytest.mark.parametrize("choice", ["required", NAMED, "auto"])
def test_a_tool_call(http: httpx.Client, choice: Any) -> None:
    body = ask("what is the weather?", tools=[WEATHER, CLOCK], tool_choice=choice)
    answer = whole(http, body).choices[0]
    assert (answer.finish_reason, answer.message.content) == ("tool_calls", None)
    assert answer.message.tool_calls is not None
    (call,) = answer.message.tool_calls
    assert call.type == "function"
    arguments = {"city": "what is the weather?", "days": 2}
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", arguments)

    deltas = [chunk.choices[0].delta.tool_calls for chunk in chunks(http, body)]
    pieces = [piece for delta in deltas for piece in delta or ()]
    assert pieces[0].id
    assert pieces[0].type == "function"
    assert pieces[0].function is not None
    assert pieces[0].function.name == "weather"
    assert all(piece.id is None and piece.index == 0 for piece in pieces[1:])
    joined = "".join((piece.function.arguments or "") for piece in pieces if piece.function)
    assert joined == call.function.arguments


def test_several_tool_calls(http: httpx.Client) -> None:
    body = ask("weather and clock", tools=[WEATHER, CLOCK])
    calls = whole(http, body).choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls if call.type == "function"] == ["weather", "clock"]
    assert len({call.id for call in calls}) == 2
    only = whole(http, {**body, "parallel_tool_calls": False}).choices[0].message.tool_calls
    assert only is not None
    assert len(only) == 1


def test_no_tool_is_called(http: httpx.Client) -> None:
    for fields in ({"tool_choice": "none"}, {}):
        text = "weather" if fields else "hello"
        answer = whole(http, ask(text, tools=[WEATHER], **fields)).choices[0]
        assert (answer.message.content, answer.message.tool_calls, answer.finish_reason) == (text, None, "stop")


def test_only_allowed_tools_are_called(http: httpx.Client) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    body = ask("weather", tools=[WEATHER, CLOCK], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    calls = whole(http, body).choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls if call.type == "function"] == ["clock"]


def test_a_function_call_of_old(http: httpx.Client) -> None:
    body = ask("weather", functions=[WEATHER["function"]], function_call={"name": "weather"})
    answer = whole(http, body).choices[0]
    assert answer.finish_reason == "function_call"
    assert answer.message.function_call is not None
    assert answer.message.function_call.name == "weather"
    assert answer.message.tool_calls is None
    received = chunks(http, body)
    assert received[-1].choices[0].finish_reason == "function_call"
    assert any(chunk.choices[0].delta.function_call for chunk in received)
    both = ask("weather and clock", functions=[WEATHER["function"], CLOCK["function"]])
    only = whole(http, both).choices[0].message.function_call
    assert only is not None
    assert only.name == "weather", "there can be but one"


def test_logprobs(http: httpx.Client) -> None:
    choice = whole(http, ask(logprobs=True, top_logprobs=2)).choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    joined = b"".join(bytes(entry.bytes or ()) for entry in choice.logprobs.content)
    assert joined.decode() == UNICODE
    assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)
    streamed = [
        entry
        for chunk in chunks(http, ask(logprobs=True, top_logprobs=2))
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content or ()
    ]
    assert streamed == choice.logprobs.content


def test_logprobs_end_where_the_text_does(http: httpx.Client) -> None:
    choice = whole(http, ask("abcdefgh", logprobs=True, stop="de")).choices[0]
    assert choice.message.content == "abc"
    assert choice.logprobs is not None
    assert [entry.token for entry in choice.logprobs.content or ()] == ["ab", "cd"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"stop": "日"},
        {"logprobs": True, "top_logprobs": 1},
        {"tools": [WEATHER, CLOCK], "tool_choice": "required"},
        {"messages": [{"role": "user", "content": "weather clock"}], "tools": [WEATHER, CLOCK], "n": 2},
        {"functions": [WEATHER["function"]], "function_call": {"name": "weather"}},
        {"max_tokens": 2},
    ],
    ids=lambda fields: "+".join(fields) or "plain",
)
def test_a_stream_taken_together_is_the_answer(http: httpx.Client, fields: dict[str, Any]) -> None:
    body = ask(**fields) if "messages" not in fields else {"model": "echo", **fields}
    expected = http.post("/v1/chat/completions", json=body).json()
    streamed = http.post(
        "/v1/chat/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}}
    )
    aggregator = CompletionAggregator()
    for event in payloads(streamed.content)[:-1]:
        aggregator.add(json.loads(event))
    answer = aggregator.response()
    strictly(ChatCompletion, answer)
    assert without_ids(answer) == without_ids(expected)


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in ("id", "created")}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def test_openai_s_client_streams(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": UNICODE}]
    with client.chat.completions.stream(model="org/echo", messages=messages) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == UNICODE
    assert final.model == "org/echo"


def test_openai_s_client_parses_a_pydantic_model(client: openai.OpenAI) -> None:
    from pydantic import BaseModel

    class Pet(BaseModel):
        name: str
        legs: int
        tags: list[str]

    answer = client.chat.completions.parse(
        model="echo", messages=[{"role": "user", "content": "hi"}], response_format=Pet
    )
    assert answer.choices[0].message.parsed == Pet(name="hi", legs=0, tags=[])
