"""Checks of Anthropic's Messages API: its events, its reasons to stop, and its errors."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..openai.routes import COUNT_TOKENS, MESSAGES
from .responding import CITY, WEATHER, assert_city
from .responses import QUESTION
from .splitting import characters_stay_whole
from .target import NotOffered, Target

TOOL = {
    "name": WEATHER["name"],
    "description": WEATHER["description"],
    "input_schema": WEATHER["parameters"],
}


async def messages_answer(target: Target) -> None:
    """A message has ids, a block of text, a reason to stop, and true usage, which a count of tokens agrees with."""
    request = {"messages": QUESTION, "max_tokens": 8}
    body = await target.ask(MESSAGES, request)
    assert body.get("type") == "message", f"a message's type is `message`: {body!r}"
    assert str(body.get("id")).startswith("msg_"), f"a message's id begins with `msg_`: {body.get('id')!r}"
    assert body.get("role") == "assistant", f"a message's role is `assistant`: {body!r}"
    assert text_of(body), f"a message has text: {body!r}"
    assert body["stop_reason"] in ("end_turn", "max_tokens"), f"it stops at its end or at max_tokens: {body!r}"
    usage = body["usage"]
    assert 0 < usage["output_tokens"] <= 8, f"with max_tokens=8 usage counts 1 to 8 tokens: {usage!r}"
    status, counted = await target.post(COUNT_TOKENS, {"messages": QUESTION})
    if status == 404 and target.capabilities.assumed:
        return
    prompt = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    assert counted == {"input_tokens": prompt}, f"a count has the {prompt} tokens of the prompt: {counted!r}"


async def messages_stream(target: Target) -> None:
    """A stream has all its events in order, and they add up to a message."""
    message = accumulated(await target.events(MESSAGES, {"messages": QUESTION, "max_tokens": 8}))
    assert text_of(message), f"a streamed message has text: {message!r}"
    assert 0 < message["usage"]["output_tokens"] <= 8, f"usage counts 1 to 8 tokens: {message['usage']!r}"


async def messages_tell_truncation(target: Target) -> None:
    """A message that `max_tokens` ended says so, whole and streamed."""
    request = {"messages": QUESTION, "max_tokens": 3}
    whole = await target.ask(MESSAGES, request)
    streamed = accumulated(await target.events(MESSAGES, request))
    for how, message in (("whole", whole), ("streamed", streamed)):
        reason = message.get("stop_reason")
        assert reason == "max_tokens", f"a {how} message that was cut off stops at `max_tokens`, not {reason!r}"


async def messages_tell_the_stop_sequence(target: Target) -> None:
    """A message that a stop sequence ended says which, whole and streamed; one that ends otherwise names none."""
    request = {"messages": QUESTION, "max_tokens": 24, "temperature": 0}
    text = text_of(await target.ask(MESSAGES, request))
    stop = next((text[i : i + 2] for i in range(3, len(text) - 2) if text.find(text[i : i + 2]) == i), None)
    assert stop is not None, f"too little text to stop in: {text!r}"
    request["stop_sequences"] = ["\x07 never said", stop]
    whole = await target.ask(MESSAGES, request)
    if whole["stop_reason"] == "end_turn" and target.capabilities.assumed:
        raise NotOffered("telling which stop sequence ended a message")
    streamed = accumulated(await target.events(MESSAGES, request))
    for how, message in (("whole", whole), ("streamed", streamed)):
        assert stop not in text_of(message), f"a {how} message ends before the stop sequence {stop!r}: {message!r}"
        ending = (message["stop_reason"], message["stop_sequence"])
        assert ending == ("stop_sequence", stop), f"a {how} message says what ended it, {stop!r}: {ending!r}"
    request["stop_sequences"] = ["\x07 never said"]
    unstopped = await target.ask(MESSAGES, request)
    assert unstopped["stop_sequence"] is None, f"no stop sequence ended this message: {unstopped!r}"
    assert unstopped["stop_reason"] != "stop_sequence", f"no stop sequence ended this message: {unstopped!r}"


async def messages_keep_a_schema(target: Target) -> None:
    """`output_config.format` with a JSON schema is kept, also where its values are not ASCII."""
    if not target.capabilities.json_schema:
        raise NotOffered("JSON schema")
    request = {
        "messages": [{"role": "user", "content": "Name a city, as JSON."}],
        "max_tokens": 120,
        "output_config": {"format": {"type": "json_schema", "schema": CITY}},
    }
    whole = await target.ask(MESSAGES, request, offers=("output_config", "format"))
    streamed = accumulated(await target.events(MESSAGES, request))
    for how, message in (("whole", whole), ("streamed", streamed)):
        assert_city(text_of(message), f"a {how} message")


async def messages_use_tools(target: Target) -> None:
    """A demanded tool comes as a block, and its result is taken back; or the request is refused."""
    question = {"role": "user", "content": "What is the weather in Paris? Use get_weather."}
    request = {"messages": [question], "max_tokens": 120, "tools": [TOOL], "tool_choice": {"type": "any"}}
    status, body = await target.post(MESSAGES, request)
    if status == 400:
        assert "tool" in str(body["error"]["message"]).lower(), f"it says that tools are refused: {body!r}"
        raise NotOffered("tools (refused with a 400)")
    assert status == 200, f"a demanded tool is used (200) or refused (400); the status was {status}: {body!r}"
    streamed = accumulated(await target.events(MESSAGES, request))
    for message in (body, streamed):
        assert message["stop_reason"] == "tool_use", f"it stops to have a tool used: {message!r}"
        uses = [block for block in message["content"] if block["type"] == "tool_use"]
        assert uses, f"`tool_choice: any` has a tool used: {message!r}"
        assert uses[0]["name"] == "get_weather", f"the tool used is the one there is: {uses[0]!r}"
        assert isinstance(uses[0]["input"], dict), f"a tool's input is an object: {uses[0]!r}"
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "Sunny."}]}
        for block in body["content"]
        if block["type"] == "tool_use"
    ]
    turns = [question, {"role": "assistant", "content": body["content"]}, {"role": "user", "content": results}]
    answer = await target.ask(MESSAGES, {**request, "messages": turns, "tool_choice": {"type": "none"}})
    assert text_of(answer), f"a tool's result is answered with text: {answer!r}"


async def messages_take_thinking_back(target: Target) -> None:
    """Blocks of thinking of earlier messages are taken back."""
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}
    turns = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ]
    await target.ask(MESSAGES, {"messages": turns, "max_tokens": 4}, offers=("messages", "thinking"))


async def messages_refuse(target: Target) -> None:
    """What is wrong or not served is Anthropic's error that names the client's own field; nothing is ignored."""
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    wrong: Sequence[tuple[dict[str, Any], str]] = (
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "bogus", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [document]}]}, "messages.0.content.0"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"mcp_servers": [{"type": "url", "url": "http://x"}]}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
    )
    if target.capabilities.assumed:
        raise NotOffered("knowing what the server behind serves of Anthropic's fields")
    for fields, param in wrong:
        body = msgspec.json.encode(
            {"model": await target.model(), "messages": QUESTION, "max_tokens": 4, **target.expects.fields, **fields}
        )
        async with target.call("POST", MESSAGES, body) as answer:
            refused = msgspec.json.decode(await answer.read())
            headers = answer.headers
        assert answer.status == 400, f"{fields!r} is a 400; the status was {answer.status}: {refused!r}"
        assert refused.get("type") == "error", f"an error's type is `error`: {refused!r}"
        error = refused.get("error") or {}
        assert error.get("type") == "invalid_request_error", f"it is the request that is wrong: {refused!r}"
        assert param in str(error.get("message")), f"the error of {fields!r} names {param!r}: {error!r}"
        assert headers.get("request-id"), f"a response has Anthropic's header `request-id`: {headers!r}"


async def messages_split_characters(target: Target) -> None:
    """A message has each character whole, also where the first is split over tokens."""
    asking = functools.partial(messaging, target)
    await characters_stay_whole(target, MESSAGES, "max_tokens", asking, text_of, accumulated)


def messaging(target: Target, text: str) -> dict[str, Any]:
    """A request that is answered with the text, as far as the model can be made to."""
    fields = target.expects.saying(text) if target.expects.saying else {}
    return {"messages": [{"role": "user", "content": text}], **fields}


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message's blocks."""
    content = message.get("content")
    assert isinstance(content, list), f"a message has a list of blocks: {message!r}"
    return "".join(block["text"] for block in content if block.get("type") == "text")


def accumulated(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every event in its place; the message that they add up to."""
    events = [event for event in events if event["type"] != "ping"]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start", f"a stream opens with `message_start`: {kinds[:2]}"
    assert kinds[-2:] == ["message_delta", "message_stop"], f"a stream ends with both: {kinds[-2:]}"
    message = dict(events[0]["message"])
    assert message["content"] == [], f"a message begins without content: {message!r}"
    blocks: list[dict[str, Any]] = []
    texts: list[str] = []
    is_open = False
    for event in events[1:-2]:
        kind = event["type"]
        if kind == "content_block_start":
            assert not is_open, f"a block is over before the next begins: {event!r}"
            assert event["index"] == len(blocks), f"`index` counts the blocks: {event!r}"
            is_open = True
            blocks.append(dict(event["content_block"]))
            texts.append("")
            continue
        assert is_open, f"every event between the first and the last two belongs to a block: {event!r}"
        assert event["index"] == len(blocks) - 1, f"`index` is that of the block: {event!r}"
        if kind == "content_block_stop":
            is_open = False
            continue
        assert kind == "content_block_delta", f"a block has deltas: {event!r}"
        delta = event["delta"]
        texts[-1] += delta.get("text") or delta.get("partial_json") or delta.get("thinking") or ""
    assert not is_open, "every block that is opened is closed"
    for block, text in zip(blocks, texts, strict=True):
        if block["type"] == "tool_use":
            block["input"] = msgspec.json.decode(text or "{}")
        else:
            block["text" if block["type"] == "text" else "thinking"] = text
    ending = events[-2]
    return {**message, **ending["delta"], "content": blocks, "usage": {**message["usage"], **ending["usage"]}}


CHECKS = (
    messages_answer,
    messages_stream,
    messages_tell_truncation,
    messages_tell_the_stop_sequence,
    messages_keep_a_schema,
    messages_use_tools,
    messages_take_thinking_back,
    messages_refuse,
    messages_split_characters,
)
