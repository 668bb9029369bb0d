"""Checks of OpenAI's Responses API: every client of it goes by the order and the members of its events."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..openai.routes import RESPONSES
from .responses import error_of, usage_of
from .splitting import characters_stay_whole
from .target import NotOffered, Target

QUESTION = "Count from one to twenty in words."
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
UNICODE = "Zürich 漢字 🦙"
CITY = {
    "type": "object",
    "properties": {"city": {"enum": [UNICODE]}},
    "required": ["city"],
    "additionalProperties": False,
}
"""A JSON schema that has one value alone."""


async def responses_answer(target: Target) -> None:
    """A response has ids, a message with text, and true usage."""
    body = await target.ask(RESPONSES, {"input": QUESTION, "max_output_tokens": 8})
    assert body.get("object") == "response", f"a response's object is `response`: {body!r}"
    assert str(body.get("id")).startswith("resp_"), f"a response's id begins with `resp_`: {body.get('id')!r}"
    assert output_text(body), f"a response has text: {body!r}"
    usage = usage_of(body, "input_tokens", "output_tokens", "total_tokens")
    assert usage["input_tokens"] > 0, f"the input had tokens, which usage counts: {usage!r}"
    assert 0 < usage["output_tokens"] <= 8, f"with max_output_tokens=8 usage counts 1 to 8 tokens: {usage!r}"
    for details in ("input_tokens_details", "output_tokens_details"):
        assert isinstance(usage.get(details), dict), f"usage has {details}: {usage!r}"


async def responses_stream(target: Target) -> None:
    """A stream has all its events, in order, numbered, and they add up to the response that ends it."""
    events = await target.events(RESPONSES, {"input": QUESTION, "max_output_tokens": 8})
    response = assert_ordered(events)
    assert output_text(response), f"a streamed response has text: {response!r}"
    usage_of(response, "input_tokens", "output_tokens", "total_tokens")


async def responses_tell_truncation(target: Target) -> None:
    """A response that `max_output_tokens` ended is `incomplete`, whole and streamed, and says why."""
    request = {"input": QUESTION, "max_output_tokens": 3}
    body = await target.ask(RESPONSES, request)
    streamed = assert_ordered(await target.events(RESPONSES, request))
    for how, response in (("whole", body), ("streamed", streamed)):
        status = response.get("status")
        assert status == "incomplete", f"a {how} response that was cut off is `incomplete`, not {status!r}"
        details = response.get("incomplete_details")
        assert details == {"reason": "max_output_tokens"}, f"a {how} response says why it is incomplete: {details!r}"


def assert_city(answer: str, what: str) -> None:
    """That `what`, whose text this is, keeps the schema `CITY`."""
    try:
        value = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        raise AssertionError(f"JSON was promised, and {what} is none: {answer!r}") from None
    assert value == {"city": UNICODE}, f"{what} has what the schema demands: {answer!r}"


async def responses_keep_a_schema(target: Target) -> None:
    """`text.format` with a JSON schema is kept, also where its values are not ASCII."""
    if not target.capabilities.json_schema:
        raise NotOffered("JSON schema")
    text = {"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}}
    request = {"input": "Name a city, as JSON.", "text": text, "max_output_tokens": 120}
    body = await target.ask(RESPONSES, request, offers=("text", "format"))
    streamed = assert_ordered(await target.events(RESPONSES, request))
    for how, response in (("whole", body), ("streamed", streamed)):
        assert_city(output_text(response), f"a {how} response")


async def responses_call_functions(target: Target) -> None:
    """A demanded call comes as an item, and its output is taken back; or the request is refused."""
    question = {"role": "user", "content": "What is the weather in Paris? Use get_weather."}
    request = {
        "input": [question],
        "tools": [WEATHER],
        "tool_choice": "required",
        "max_output_tokens": 120,
    }
    status, body = await target.post(RESPONSES, request)
    if status == 400:
        assert "tool" in str(error_of(status, body, 400)["message"]).lower(), (
            f"it says that tools are refused: {body!r}"
        )
        raise NotOffered("tools (refused with a 400)")
    assert status == 200, f"a demanded tool is called (200) or refused (400); the status was {status}: {body!r}"
    streamed = assert_ordered(await target.events(RESPONSES, request))
    for response in (body, streamed):
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        assert calls, f"`tool_choice: required` gives a call: {response['output']!r}"
        assert calls[0]["name"] == "get_weather", f"the function called is the one there is: {calls[0]!r}"
        arguments = msgspec.json.decode(calls[0]["arguments"])
        assert isinstance(arguments, dict), f"a call's arguments are a JSON object: {calls[0]!r}"
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "Sunny."}
        for item in body["output"]
        if item["type"] == "function_call"
    ]
    again = {**request, "input": [question, *body["output"], *outputs], "tool_choice": "none"}
    answer = await target.ask(RESPONSES, again)
    assert output_text(answer), f"a call's output is answered with text: {answer!r}"


async def responses_go_on(target: Target) -> None:
    """`previous_response_id` goes on from a response that is kept; what is not kept is a 400 that names the field."""
    first = await target.ask(RESPONSES, {"input": "Remember the word llama.", "max_output_tokens": 4})
    request = {"input": "Which word?", "previous_response_id": first["id"], "max_output_tokens": 4}
    status, body = await target.post(RESPONSES, request)
    if status in (400, 404) and target.capabilities.assumed:
        raise NotOffered("previous_response_id")
    assert status == 200, f"a response goes on from one that was kept; the status was {status}: {body!r}"
    previous = body.get("previous_response_id")
    assert previous == first["id"], f"a response names the one that it goes on from: {previous!r}"
    status, kept = await target.get(f"{RESPONSES}/{first['id']}")
    if status == 404 and target.capabilities.assumed:
        raise NotOffered("finding a response by its id")
    assert (status, kept.get("id")) == (200, first["id"]), f"a response that is kept is found by its id: {kept!r}"
    unkept = await target.ask(RESPONSES, {"input": "Hello.", "max_output_tokens": 2, "store": False})
    for unknown in (unkept["id"], "resp_unknown"):
        status, body = await target.post(RESPONSES, {"input": "Go on.", "previous_response_id": unknown})
        error = error_of(status, body, 400)
        assert error["param"] == "previous_response_id", f"the field that is wrong is named: {error!r}"
    status, body = await target.delete(f"{RESPONSES}/{first['id']}")
    assert status == 200, f"a response that is kept can be deleted; the status was {status}: {body!r}"
    status, body = await target.get(f"{RESPONSES}/{first['id']}")
    assert status == 404, f"a response that was deleted is gone; the status was {status}: {body!r}"


async def responses_take_reasoning_back(target: Target) -> None:
    """Reasoning items of earlier answers are taken as input, also without `content`."""
    answered = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
    request = {
        "input": [
            {"role": "user", "content": "Hello."},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
            {**answered, "id": "msg_1", "status": "completed"},
            {"role": "user", "content": "And now?"},
        ],
        "max_output_tokens": 4,
    }
    await target.ask(RESPONSES, request, offers=("input", "reasoning"))


async def responses_refuse(target: Target) -> None:
    """What is wrong or not served is a 400 that names the client's own field; nothing is ignored."""
    wrong: Sequence[tuple[dict[str, Any], str]] = (
        ({"input": []}, "input"),
        ({"input": [{"role": "bogus", "content": "x"}]}, "input.0.role"),
        ({"input": 1}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
    )
    if target.capabilities.assumed:
        raise NotOffered("knowing what the server behind serves of OpenAI's fields")
    for fields, param in wrong:
        status, body = await target.post(RESPONSES, {"input": "Hello.", **fields})
        error = error_of(status, body, 400)
        named = str(error["param"] or "").startswith(param)
        assert named, f"the error of {fields!r} names {param!r}: {error!r}"


async def responses_split_characters(target: Target) -> None:
    """A response has each character whole, also where the first is split over tokens."""
    asking = functools.partial(responding, target)
    await characters_stay_whole(target, RESPONSES, "max_output_tokens", asking, output_text, assert_ordered)


def responding(target: Target, text: str) -> dict[str, Any]:
    """A request that is answered with the text, as far as the model can be made to."""
    return {"input": text, **(target.expects.saying(text) if target.expects.saying else {})}


def output_text(response: Mapping[str, Any]) -> str:
    """The text of all a response's messages."""
    items = response.get("output")
    assert isinstance(items, list), f"a response has a list as its output: {response!r}"
    messages = [item for item in items if item.get("type") == "message"]
    return "".join(part.get("text", "") for message in messages for part in message["content"])


def assert_ordered(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every event in its place, and their sum the last response, which is returned."""
    numbers = [event.get("sequence_number") for event in events]
    assert numbers == list(range(len(events))), f"events are numbered from 0, each by one more: {numbers}"
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"], f"a stream opens with both: {kinds[:3]}"
    last = events[-1]
    assert kinds[-1] in ("response.completed", "response.incomplete"), f"a stream ends with the response: {last!r}"
    items: list[dict[str, Any]] = []
    opened: dict[str, Any] | None = None
    text = ""
    for event in events[2:-1]:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert opened is None, f"an item is over before the next begins: {event!r}"
            assert event["output_index"] == len(items), f"output_index counts the items: {event!r}"
            opened = event["item"]
            continue
        assert opened is not None, f"every event but the first and the last two belongs to an item: {event!r}"
        assert event["output_index"] == len(items), f"output_index is that of the item: {event!r}"
        if kind == "response.output_item.done":
            assert event["item"]["id"] == opened["id"], f"an item keeps its id: {event!r}"
            items.append(event["item"])
            opened = None
            continue
        assert event["item_id"] == opened["id"], f"item_id is that of the item: {event!r}"
        text = _added(text, event)
    assert opened is None, "every item that is opened is closed"
    response: dict[str, Any] = last["response"]
    assert response["output"] == items, f"the last response has the items that were streamed: {response['output']!r}"
    assert events[0]["response"]["id"] == response["id"], "a response keeps its id"
    return response


def _added(text: str, event: Mapping[str, Any]) -> str:
    """The text of the part that is open, after an event that adds to it or tells it whole."""
    kind = event["type"]
    if kind.endswith("part.added"):
        return ""
    if kind.endswith(".delta"):
        return text + str(event["delta"])
    if kind.endswith("part.done"):
        return text
    whole = next(event[name] for name in ("text", "arguments", "refusal") if name in event)
    assert whole == text, f"the deltas add up to the whole, {text!r}: {event!r}"
    return ""


CHECKS = (
    responses_answer,
    responses_stream,
    responses_tell_truncation,
    responses_keep_a_schema,
    responses_call_functions,
    responses_go_on,
    responses_take_reasoning_back,
    responses_refuse,
    responses_split_characters,
)
