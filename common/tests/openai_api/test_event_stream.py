"""Servers' streams read in whatever pieces and order they come, and written as the client wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from engineroom.asgi import Message
from engineroom.errors import APIError
from engineroom.openai.event_stream import ResponseWriter, read_events
from engineroom.openai.routes import CHAT_COMPLETIONS, MESSAGES
from engineroom.openai.upstream_errors import from_upstream

HELLO = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}
USAGE = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


async def in_pieces(text: str, size: int) -> AsyncIterator[bytes]:
    body = text.encode()
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(text: str, path: str = CHAT_COMPLETIONS, size: int = 1000) -> list[bytes]:
    return [data async for batch in read_events(in_pieces(text, size), path, from_upstream) for data in batch]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("end", ["data: [DONE]\n\n", "data: [DONE]\r\n\r\n", "data: [DONE]"])
async def test_events_come_whole(size: int, end: str) -> None:
    assert await read(f': ping\n\ndata: {{"a":1}}\n\ndata: null\n\ndata: {{"b":2}}\n\n{end}', size=size) == [
        b'{"a":1}',
        b'{"b":2}',
    ]


@pytest.mark.parametrize("text", ["", 'data: {"a":1}\n\n', 'data: {"a":1}\n\ndata: {"b'])
async def test_a_stream_without_its_end_is_an_error(text: str) -> None:
    with pytest.raises(APIError) as caught:
        await read(text)
    assert (caught.value.status, caught.value.code) == (502, "engine_error")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"message": "Oh.", "code": 429}}, 429),
        ({"error": {"message": "Oh.", "code": "odd"}}, 500),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Oh."}}, 500),
    ],
    ids=str,
)
async def test_an_error_ends_the_stream_behind_what_came_before(error: dict[str, Any], status: int) -> None:
    text = f'data: {{"a":1}}\n\ndata: {msgspec.json.encode(error).decode()}\n\n'
    events = read_events(in_pieces(text, 1000), MESSAGES, from_upstream)
    assert await anext(events) == [b'{"a":1}']
    with pytest.raises(APIError, match=r"Oh\.") as caught:
        await anext(events)
    assert caught.value.status == status


async def test_an_error_that_is_null_is_none() -> None:
    assert await read('data: {"error":null,"choices":[]}\n\ndata: [DONE]\n\n') == [b'{"error":null,"choices":[]}']


async def written(json: dict[str, Any], *, at_once: bool = False) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    writer = ResponseWriter(CHAT_COMPLETIONS, json, send, at_once=at_once)
    await writer.write([HELLO, msgspec.json.encode({**HELLO, "choices": [], "usage": USAGE})])
    await writer.close()
    return messages


async def test_a_client_gets_a_stream_event_by_event() -> None:
    start, events, end = await written({"stream": True})
    assert start["status"] == 200
    assert events["body"].count(b"data: ") == 3, "the role that the server skipped, and its two events"
    assert (end["body"], end["more_body"]) == (b"data: [DONE]\n\n", False)


async def test_a_client_gets_the_whole() -> None:
    _, body = await written({})
    response = msgspec.json.decode(body["body"])
    assert response["object"] == "chat.completion"
    assert response["choices"][0]["message"]["content"] == "Hello"
    assert response["usage"] == USAGE


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_stream_that_is_sent_at_once(include_usage: bool) -> None:
    json = {"stream": True, "stream_options": {"include_usage": include_usage}}
    _, body = await written(json, at_once=True)
    *events, done, rest = body["body"].decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [msgspec.json.decode(event.removeprefix("data: ")) for event in events]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hello"}
    assert [chunk["usage"] for chunk in chunks if chunk.get("usage")] == ([USAGE] if include_usage else [])
