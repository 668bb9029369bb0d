"""Checks of what an engine answers to a good request."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import msgspec

from .target import NotOffered, Target

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
QUESTION = [{"role": "user", "content": "Count from one to twenty in words."}]


async def models_are_listed(target: Target) -> None:
    """GET /v1/models lists the served models."""
    status, body = await target.get("/v1/models")
    assert status == 200, f"/v1/models answered {status}"
    assert body["object"] == "list"
    assert await target.model() in [model["id"] for model in body["data"]]
    assert all(model["object"] == "model" for model in body["data"])


async def a_model_is_retrieved(target: Target) -> None:
    """GET /v1/models/{name} has the entry of the list; a name that is not served is a 404."""
    name = await target.model()
    status, body = await target.get(f"/v1/models/{quote(name)}")
    if status == 404:
        raise NotOffered("one model's own URL")
    assert status == 200, f"answered {status}: {body}"
    assert (body["id"], body["object"]) == (name, "model")
    status, body = await target.get("/v1/models/no-such-model")
    assert status == 404, f"a model that is not served answered {status}"
    assert body["error"]["code"] == "model_not_found"


async def chat_answers(target: Target) -> None:
    """A chat completion has an id, a choice with an assistant's message, and true usage."""
    status, body = await target.post(CHAT, {"messages": QUESTION, "max_tokens": 8})
    assert status == 200, f"answered {status}: {body}"
    assert body["object"] == "chat.completion"
    assert body["id"]
    assert isinstance(body["created"], int)
    choice = body["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert isinstance(choice["message"]["content"], str)
    assert choice["message"]["content"]
    assert choice["finish_reason"] in ("stop", "length")
    usage = body["usage"]
    assert usage["prompt_tokens"] > 0
    assert 0 < usage["completion_tokens"] <= 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def chat_streams(target: Target) -> None:
    """A streamed chat has role, content and finish reason in their places, one id, and usage only when asked."""
    request = {"messages": QUESTION, "max_tokens": 8}
    events = await target.stream(CHAT, request)
    assert len({event["id"] for event in events}) == 1, "all chunks of a stream have one id"
    assert all(event["object"] == "chat.completion.chunk" for event in events)
    choices = [choice for event in events for choice in event["choices"]]
    assert choices[0]["delta"].get("role") == "assistant", "the first delta has the role"
    assert "".join(choice["delta"].get("content") or "" for choice in choices)
    assert [c["finish_reason"] for c in choices if c.get("finish_reason")] in (["stop"], ["length"])
    assert not any(event.get("usage") for event in events), "usage is sent only where it is asked for"
    events = await target.stream(CHAT, {**request, "stream_options": {"include_usage": True}})
    assert events[-1]["choices"] == [], "the usage comes last, in a chunk without choices"
    assert 0 < events[-1]["usage"]["completion_tokens"] <= 8


async def completion_answers(target: Target) -> None:
    """A completion answers whole and streamed."""
    request = {"prompt": "One, two, three,", "max_tokens": 8}
    status, body = await target.post(COMPLETIONS, request)
    assert status == 200, f"answered {status}: {body}"
    assert body["object"] == "text_completion"
    assert isinstance(body["choices"][0]["text"], str)
    assert 0 < body["usage"]["completion_tokens"] <= 8
    events = await target.stream(COMPLETIONS, request)
    assert "".join(c["text"] for event in events for c in event["choices"])


async def max_tokens_is_honoured(target: Target) -> None:
    """`max_tokens` and `max_completion_tokens` end a generation with the reason `length`."""
    for name in ("max_tokens", "max_completion_tokens"):
        status, body = await target.post(CHAT, {"messages": QUESTION, name: 3})
        assert status == 200, f"{name} answered {status}: {body}"
        assert body["usage"]["completion_tokens"] == 3, f"{name}=3 gave {body['usage']}"
        assert body["choices"][0]["finish_reason"] == "length"


async def stop_is_honoured(target: Target) -> None:
    """A stop string ends the text before it, whole and streamed, with the reason `stop`."""
    request = {"messages": QUESTION, "max_tokens": 24, "temperature": 0, "seed": 1}
    _, body = await target.post(CHAT, request)
    text = body["choices"][0]["message"]["content"]
    stop = next((text[i : i + 2] for i in range(3, len(text) - 2) if text.find(text[i : i + 2]) == i), None)
    assert stop is not None, f"too little text to stop in: {text!r}"
    _, body = await target.post(CHAT, {**request, "stop": [stop]})
    choice = body["choices"][0]
    assert stop not in choice["message"]["content"], "the text ends before the stop string"
    assert choice["finish_reason"] == "stop"
    events = await target.stream(CHAT, {**request, "stop": stop})
    choices = [c for event in events for c in event["choices"]]
    assert stop not in "".join(c["delta"].get("content") or "" for c in choices)
    assert choices[-1]["finish_reason"] == "stop"


async def several_choices(target: Target) -> None:
    """`n` gives that many choices, whole and streamed, and counts all their tokens."""
    if not target.capabilities.several_choices:
        raise NotOffered("n > 1")
    request = {"messages": QUESTION, "max_tokens": 4, "n": 3}
    status, body = await target.post(CHAT, request)
    assert status == 200, f"n=3 answered {status}: {body}"
    assert sorted(choice["index"] for choice in body["choices"]) == [0, 1, 2]
    assert body["usage"]["completion_tokens"] > 4
    events = await target.stream(CHAT, request)
    choices = [c for event in events for c in event["choices"]]
    assert {c["index"] for c in choices} == {0, 1, 2}
    assert sorted(c["index"] for c in choices if c.get("finish_reason")) == [0, 1, 2]


async def unicode_survives(target: Target) -> None:
    """Characters that are split over tokens arrive whole."""
    text = "🦙🫠 Größe, 漢字, नमस्ते 👩‍👩‍👧"
    request: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 120}
    if target.capabilities.json_schema:
        schema = {
            "type": "object",
            "properties": {"t": {"enum": [text]}},
            "required": ["t"],
            "additionalProperties": False,
        }
        request["response_format"] = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    _, body = await target.post(CHAT, request)
    whole = body["choices"][0]["message"]["content"]
    events = await target.stream(CHAT, request)
    streamed = "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
    for said in (whole, streamed):
        assert "\ufffd" not in said, f"a character was lost: {said!r}"
        if target.capabilities.json_schema:
            assert msgspec.json.decode(said)["t"] == text


async def json_schema_is_kept(target: Target) -> None:
    """`response_format` with a JSON schema gives JSON of that schema."""
    if not target.capabilities.json_schema:
        raise NotOffered("JSON schema")
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "big": {"type": "boolean"}},
        "required": ["city", "big"],
        "additionalProperties": False,
    }
    _, body = await target.post(
        CHAT,
        {
            "messages": [{"role": "user", "content": "Name a city and say whether it is big, as JSON."}],
            "max_tokens": 200,
            "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
        },
    )
    answer = msgspec.json.decode(body["choices"][0]["message"]["content"])
    assert set(answer) == {"city", "big"}
    assert isinstance(answer["big"], bool)


async def logprobs_are_given(target: Target) -> None:
    """`logprobs` gives each token's, with as many alternatives as asked for."""
    if not target.capabilities.logprobs:
        raise NotOffered("logprobs")
    status, body = await target.post(CHAT, {"messages": QUESTION, "max_tokens": 3, "logprobs": True, "top_logprobs": 2})
    assert status == 200, f"answered {status}: {body}"
    content = body["choices"][0]["logprobs"]["content"]
    assert len(content) == 3
    assert all(entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 2 for entry in content)


async def tools_are_called_or_refused(target: Target) -> None:
    """A required tool is called with JSON arguments, or the request is refused; it is never ignored."""
    function = {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    request = {
        "messages": [{"role": "user", "content": "What is the weather in Paris? Use get_weather."}],
        "max_tokens": 120,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
    }
    status, body = await target.post(CHAT, request)
    if status == 400:
        assert "tool" in body["error"]["message"].lower(), f"the error does not speak of tools: {body}"
        raise NotOffered("tools (refused with a 400)")
    assert status == 200, f"answered {status}: {body}"
    call = body["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call["name"] == "get_weather"
    assert isinstance(msgspec.json.decode(call["arguments"]), dict)


async def many_streams_at_once(target: Target) -> None:
    """64 streams at once all end as they should."""
    request = {"messages": QUESTION, "max_tokens": 4}
    streams = await asyncio.gather(*(target.stream(CHAT, request) for _ in range(64)))
    assert all(any(c.get("finish_reason") for e in events for c in e["choices"]) for events in streams)


CHECKS = (
    models_are_listed,
    a_model_is_retrieved,
    chat_answers,
    chat_streams,
    completion_answers,
    max_tokens_is_honoured,
    stop_is_honoured,
    several_choices,
    unicode_survives,
    json_schema_is_kept,
    logprobs_are_given,
    tools_are_called_or_refused,
    many_streams_at_once,
)
