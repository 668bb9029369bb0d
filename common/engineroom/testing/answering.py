"""Checks of what an engine answers to a good request."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import msgspec

from ..openai.routes import CHAT_COMPLETIONS, COMPLETIONS
from .responses import (
    QUESTION,
    choices_in,
    choices_of,
    content_of,
    delta_of,
    streamed_content,
    usage_of,
)
from .target import NotOffered, Target


async def models_are_listed(target: Target) -> None:
    """GET /v1/models lists the served models."""
    status, body = await target.get("/v1/models")
    assert status == 200, f"/v1/models is answered with 200; it was {status}: {body!r}"
    assert isinstance(body, dict), f"/v1/models is a JSON object, not this: {body!r}"
    assert body.get("object") == "list", f"/v1/models is an object of type `list`: {body!r}"
    names = [model["id"] for model in body["data"]]
    name = await target.model()
    assert name in names, f"the model {name} is served, so it is listed; listed are {names}"
    for model in body["data"]:
        assert model.get("object") == "model", f"each entry of the list is an object of type `model`: {model!r}"


async def a_model_is_retrieved(target: Target) -> None:
    """GET /v1/models/{name} has the entry of the list; a name that is not served is a 404."""
    name = await target.model()
    path = f"/v1/models/{quote(name)}"
    status, body = await target.get(path)
    if status == 404:
        raise NotOffered("one model's own URL")
    assert status == 200, f"{path} is answered with 200; it was {status}: {body!r}"
    entry = (body.get("id"), body.get("object"))
    assert entry == (name, "model"), f"{path} has that model's entry of the list: {body!r}"
    status, body = await target.get("/v1/models/no-such-model")
    assert status == 404, f"a model that is not served is a 404; it was {status}: {body!r}"
    code = (body.get("error") or {}).get("code")
    assert code == "model_not_found", f"a model that is not served has the code `model_not_found`: {body!r}"


async def chat_answers(target: Target) -> None:
    """A chat completion has an id, a choice with an assistant's message, and true usage."""
    body = await target.ask(CHAT_COMPLETIONS, {"messages": QUESTION, "max_tokens": 8})
    assert body.get("object") == "chat.completion", f"a chat's object is `chat.completion`: {body!r}"
    assert body.get("id"), f"a chat has an id: {body!r}"
    assert isinstance(body.get("created"), int), f"a chat's `created` is a whole number of seconds: {body!r}"
    text = content_of(body)
    assert text, f"a chat's message has text: {body!r}"
    choice = choices_of(body)[0]
    assert choice["message"].get("role") == "assistant", f"a chat's message has the role `assistant`: {choice!r}"
    assert choice.get("finish_reason") in ("stop", "length"), f"a chat ends with `stop` or `length`: {choice!r}"
    usage = usage_of(body, "prompt_tokens", "completion_tokens", "total_tokens")
    assert usage["prompt_tokens"] > 0, f"the prompt had tokens, which usage counts: {usage!r}"
    assert 0 < usage["completion_tokens"] <= 8, f"with max_tokens=8 usage counts 1 to 8 tokens: {usage!r}"
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["total_tokens"] == total, f"total_tokens is the sum of the others, {total}: {usage!r}"


async def chat_streams(target: Target) -> None:
    """A streamed chat has role, content and finish reason in their places, one id, and usage only when asked."""
    request = {"messages": QUESTION, "max_tokens": 8}
    events = await target.stream(CHAT_COMPLETIONS, request)
    ids = {event.get("id") for event in events}
    assert len(ids) == 1, f"all events of a stream have one id; these have {ids}"
    kinds = {event.get("object") for event in events}
    assert kinds == {"chat.completion.chunk"}, f"each event's object is `chat.completion.chunk`; these are {kinds}"
    choices = choices_in(events)
    first = delta_of(choices[0])
    assert first.get("role") == "assistant", f"the first delta has the role `assistant`: {first!r}"
    assert streamed_content(events), f"the deltas have text: {events!r}"
    reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    assert reasons in (["stop"], ["length"]), f"a stream has one finish reason, `stop` or `length`, not {reasons}"
    unasked = [event["usage"] for event in events if event.get("usage")]
    assert not unasked, f"usage is sent only where `stream_options` asks for it; this was: {unasked}"
    events = await target.stream(CHAT_COMPLETIONS, {**request, "stream_options": {"include_usage": True}})
    last = events[-1]
    assert last.get("choices") == [], f"the usage comes last, in an event without choices: {last!r}"
    usage = usage_of(last, "completion_tokens")
    assert 0 < usage["completion_tokens"] <= 8, f"with max_tokens=8 a stream's usage counts 1 to 8 tokens: {usage!r}"


async def completion_answers(target: Target) -> None:
    """A completion answers whole and streamed."""
    request = {"prompt": "One, two, three,", "max_tokens": 8}
    body = await target.ask(COMPLETIONS, request)
    assert body.get("object") == "text_completion", f"a completion's object is `text_completion`: {body!r}"
    choice = choices_of(body)[0]
    assert isinstance(choice.get("text"), str), f"a completion's choice has a text: {choice!r}"
    usage = usage_of(body, "completion_tokens")
    assert 0 < usage["completion_tokens"] <= 8, f"with max_tokens=8 usage counts 1 to 8 tokens: {usage!r}"
    events = await target.stream(COMPLETIONS, request)
    text = "".join(choice.get("text") or "" for choice in choices_in(events))
    assert text, f"a streamed completion's events have text: {events!r}"


async def max_tokens_is_honoured(target: Target) -> None:
    """`max_tokens` and `max_completion_tokens` end a generation with the reason `length`."""
    for name in ("max_tokens", "max_completion_tokens"):
        body = await target.ask(CHAT_COMPLETIONS, {"messages": QUESTION, name: 3})
        usage = usage_of(body, "completion_tokens")
        assert usage["completion_tokens"] == 3, f"{name}=3 gives 3 tokens here; usage counts {usage!r}"
        reason = choices_of(body)[0].get("finish_reason")
        assert reason == "length", f"{name}=3 ends the generation with `length`, not {reason!r}"


async def stop_is_honoured(target: Target) -> None:
    """A stop string ends the text before it, whole and streamed, with the reason `stop`."""
    request = {"messages": QUESTION, "max_tokens": 24, "temperature": 0, "seed": 1}
    text = content_of(await target.ask(CHAT_COMPLETIONS, request))
    stop = next((text[i : i + 2] for i in range(3, len(text) - 2) if text.find(text[i : i + 2]) == i), None)
    assert stop is not None, f"too little text to stop in: {text!r}"
    body = await target.ask(CHAT_COMPLETIONS, {**request, "stop": [stop]})
    stopped = content_of(body)
    assert stop not in stopped, f"the text ends before the stop string {stop!r}: {stopped!r}"
    reason = choices_of(body)[0].get("finish_reason")
    assert reason == "stop", f"a stop string ends the generation with `stop`, not {reason!r}"
    events = await target.stream(CHAT_COMPLETIONS, {**request, "stop": stop})
    stopped = streamed_content(events)
    assert stop not in stopped, f"a streamed text ends before the stop string {stop!r}, too: {stopped!r}"
    reason = choices_in(events)[-1].get("finish_reason")
    assert reason == "stop", f"a stop string ends a stream with `stop`, not {reason!r}"


async def several_choices(target: Target) -> None:
    """`n` gives that many choices, whole and streamed, and counts all their tokens."""
    if not target.capabilities.several_choices:
        raise NotOffered("n > 1")
    request = {"messages": QUESTION, "max_tokens": 4, "n": 3}
    body = await target.ask(CHAT_COMPLETIONS, request, offers=("n",))
    indices = sorted(choice.get("index", -1) for choice in choices_of(body))
    assert indices == [0, 1, 2], f"n=3 gives the choices 0, 1 and 2; these came: {indices}"
    usage = usage_of(body, "completion_tokens")
    assert usage["completion_tokens"] > 4, f"usage counts the tokens of all 3 choices, more than one's 4: {usage!r}"
    choices = choices_in(await target.stream(CHAT_COMPLETIONS, request))
    indices = sorted({choice.get("index", -1) for choice in choices})
    assert indices == [0, 1, 2], f"n=3 streams the choices 0, 1 and 2; these came: {indices}"
    ended = sorted(choice.get("index", -1) for choice in choices if choice.get("finish_reason"))
    assert ended == [0, 1, 2], f"each of the 3 streamed choices has one finish reason; these have: {ended}"


async def unicode_survives(target: Target) -> None:
    """Characters that are split over tokens arrive whole."""
    text = "🦙🫠 Größe, 漢字, नमस्ते 👩‍👩‍👧"
    request: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 120}
    schema = {
        "type": "object",
        "properties": {"t": {"enum": [text]}},
        "required": ["t"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    by_schema = target.capabilities.json_schema
    try:
        # Where a schema can be demanded the characters are sure to come; else the model may have others to say.
        asked = {**request, "response_format": response_format} if by_schema else request
        body = await target.ask(CHAT_COMPLETIONS, asked, offers=("response_format", "json_schema"))
    except NotOffered:
        asked = request
        by_schema = False
        body = await target.ask(CHAT_COMPLETIONS, asked)
    events = await target.stream(CHAT_COMPLETIONS, asked)
    for how, content in (("whole", content_of(body)), ("streamed", streamed_content(events))):
        assert "\ufffd" not in content, f"a character was lost in a {how} answer: {content!r}"
        if by_schema:
            value = _decoded(content)
            assert isinstance(value, dict), f"a {how} answer is an object, as the schema demands: {content!r}"
            assert value.get("t") == text, f"a {how} answer has the text {text!r}, as the schema demands: {content!r}"


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
    request = {
        "messages": [{"role": "user", "content": "Name a city and say whether it is big, as JSON."}],
        "max_tokens": 200,
        "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
    }
    content = content_of(await target.ask(CHAT_COMPLETIONS, request, offers=("response_format", "json_schema")))
    value = _decoded(content)
    assert isinstance(value, dict), f"the schema demands an object: {content!r}"
    assert set(value) == {"city", "big"}, f"the schema demands `city` and `big`, and nothing else: {content!r}"
    assert isinstance(value["big"], bool), f"the schema demands that `big` is true or false: {content!r}"


async def logprobs_are_given(target: Target) -> None:
    """`logprobs` gives each token's, with as many alternatives as asked for."""
    if not target.capabilities.logprobs:
        raise NotOffered("logprobs")
    request = {"messages": QUESTION, "max_tokens": 3, "logprobs": True, "top_logprobs": 2}
    body = await target.ask(CHAT_COMPLETIONS, request, offers=("logprobs", "top_logprobs"))
    choice = choices_of(body)[0]
    content = (choice.get("logprobs") or {}).get("content")
    assert isinstance(content, list), f"`logprobs: true` gives logprobs with content; this came: {choice!r}"
    assert len(content) == 3, f"each of the 3 tokens has its logprobs; {len(content)} have: {content!r}"
    for entry in content:
        assert entry["logprob"] <= 0, f"a log probability is at most 0: {entry!r}"
        alternatives = len(entry["top_logprobs"])
        assert alternatives == 2, f"top_logprobs=2 gives 2 alternatives; {alternatives} came: {entry!r}"


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
    status, body = await target.post(CHAT_COMPLETIONS, request)
    if status == 400:
        message = str((body.get("error") or {}).get("message"))
        assert "tool" in message.lower(), f"a 400 for a required tool says that tools are the matter: {message!r}"
        raise NotOffered("tools (refused with a 400)")
    answers = [(status, body)]
    if target.capabilities.json_schema:
        # What is said of an answer's text does not keep it from being a call: instructor always sends both.
        schema = {"name": "city", "schema": function["parameters"]}
        form = {"type": "json_schema", "json_schema": schema}
        answers.append(await target.post(CHAT_COMPLETIONS, {**request, "response_format": form}))
    for status, body in answers:
        assert status == 200, f"a required tool is called (200) or refused (400); the status was {status}: {body!r}"
        choice = choices_of(body)[0]
        calls = (choice.get("message") or {}).get("tool_calls")
        assert calls, f"`tool_choice: required` gives a tool call, not this: {choice!r}"
        call = calls[0]["function"]
        assert call["name"] == "get_weather", f"the tool called is the one there is, get_weather: {call!r}"
        arguments = _decoded(call["arguments"])
        assert isinstance(arguments, dict), f"a call's arguments are a JSON object: {call!r}"


async def earlier_refusals_are_read(target: Target) -> None:
    """What an assistant refused with earlier makes the prompt longer, as what it said does."""
    refused = "I cannot count any further than that, whatever you may say to me now."

    async def tokens(answer: dict[str, Any]) -> int:
        turns = [*QUESTION, {"role": "assistant", **answer}, {"role": "user", "content": "Why?"}]
        body = await target.ask(CHAT_COMPLETIONS, {"messages": turns, "max_tokens": 2}, offers=("refusal",))
        return int(usage_of(body, "prompt_tokens")["prompt_tokens"])

    without = await tokens({"content": "I"})
    for answer in ({"content": None, "refusal": refused}, {"content": [{"type": "refusal", "refusal": refused}]}):
        longer = await tokens(answer) - without
        if longer < 8 and target.capabilities.assumed:
            raise NotOffered("what an assistant refused with")
        assert longer >= 8, f"the model reads {answer!r}, at least 8 tokens more than one word; there were {longer}"


async def many_streams_at_once(target: Target) -> None:
    """64 streams at once all end as they should."""
    request = {"messages": QUESTION, "max_tokens": 4}
    streams = await asyncio.gather(*(target.stream(CHAT_COMPLETIONS, request) for _ in range(64)))
    unended = sum(not any(choice.get("finish_reason") for choice in choices_in(events)) for events in streams)
    assert not unended, f"each of 64 streams has a finish reason; {unended} have none"


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise AssertionError(f"JSON was promised, and this is not JSON ({error}): {text!r}") from error


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
    earlier_refusals_are_read,
    many_streams_at_once,
)
