"""Where heartbeats may stand in a stream, whatever its app sends and however slowly its client reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from engineroom.asgi import Message
from engineroom.openai.heartbeats import COMMENT, HeartbeatStream
from engineroom.openai.routes import CHAT_COMPLETIONS, MESSAGES

_SHORT = 0.02
START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-own", b"1")],
}
END: Message = {"type": "http.response.body", "body": b"data: [DONE]\n\n"}
SILENCE = None


def piece(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


class SlowClient:
    """Takes each message after a while. sent: what it has taken; at a time: the most that were under way at once."""

    def __init__(self, seconds: float = 0) -> None:
        self.sent: list[Message] = []
        self._seconds = seconds
        self._under_way = 0
        self.at_a_time = 0

    async def send(self, message: Message) -> None:
        self._under_way += 1
        self.at_a_time = max(self.at_a_time, self._under_way)
        await asyncio.sleep(self._seconds)
        self.sent.append(message)
        self._under_way -= 1

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def answer(
    messages: Sequence[Message | None], client: SlowClient, path: str = CHAT_COMPLETIONS
) -> HeartbeatStream:
    """Send the messages, and be silent for some heartbeats where there is none."""
    stream = HeartbeatStream(path, client.send, _SHORT)
    try:
        for message in messages:
            if message is None:
                await asyncio.sleep(5 * _SHORT)
            else:
                await stream.send(message)
    finally:
        await stream.close()
    return stream


async def test_a_stream_begins_once_and_the_app_s_own_beginning_counts_where_it_is_the_first() -> None:
    quick, late = SlowClient(), SlowClient()
    await answer([START, piece(b"data: 1\n\n"), END], quick)
    assert quick.sent[0] == START
    await answer([SILENCE, START, piece(b"data: 1\n\n"), END], late)
    assert [message["type"] for message in late.sent].count("http.response.start") == 1
    assert late.sent[0]["status"] == 200
    assert late.body.startswith(COMMENT)
    assert late.body.replace(COMMENT, b"") == b"data: 1\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_amid_a_stream_they_stand_between_events_only(end: bytes) -> None:
    client = SlowClient()
    half = [piece(b'data: {"a"'), SILENCE, piece(b":1}" + end)]
    await answer([START, *half, *half, SILENCE, END], client)
    assert client.body.startswith(2 * (b'data: {"a":1}' + end) + COMMENT)
    assert client.sent[-1] == END


async def test_headers_without_an_event_are_followed_by_them() -> None:
    client = SlowClient()
    await answer([START, SILENCE, piece(b"data: 1\n\n"), END], client)
    assert client.sent[0] == START
    assert client.body.startswith(COMMENT)


async def test_none_follows_the_end_nor_stands_in_what_is_no_stream() -> None:
    streamed, whole = SlowClient(), SlowClient()
    await answer([START, END, SILENCE], streamed)
    assert streamed.sent == [START, END]
    json: Message = {"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"application/json")]}
    await answer([json, SILENCE, piece(b"{"), SILENCE, END], whole)
    assert whole.sent == [json, piece(b"{"), END]


async def test_a_slow_client_gets_all_in_its_order() -> None:
    client = SlowClient(3 * _SHORT)
    await answer(
        [SILENCE, START, piece(b"data: 1\n\n"), piece(b"data: 2\n\n"), SILENCE, piece(b"data: 3\n\n"), END], client
    )
    assert client.at_a_time <= 2  # Heartbeats do not pile up behind what it has not taken.
    assert client.body.replace(COMMENT, b"") == b"data: 1\n\ndata: 2\n\ndata: 3\n\ndata: [DONE]\n\n"
    assert client.sent[-1] == END


@pytest.mark.parametrize(
    ("path", "body", "event"),
    [
        (
            CHAT_COMPLETIONS,
            b'{"error":{"message":"Full.","type":"server_error","param":null,"code":"server_busy"}}',
            b'data: {"error":{"message":"Full.","type":"server_error","param":null,"code":"server_busy"}}\n\n',
        ),
        (
            MESSAGES,
            b'{"type":"error","error":{"type":"overloaded_error","message":"Full."},"request_id":"req_1"}',
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Full."}}\n\n',
        ),
    ],
)
async def test_a_late_error_is_the_last_event(path: str, body: bytes, event: bytes) -> None:
    client = SlowClient()
    error: Message = {"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"application/json")]}
    stream = await answer(
        [SILENCE, error, piece(body[:20]), {"type": "http.response.body", "body": body[20:]}, SILENCE], client, path
    )
    assert client.body.replace(COMMENT, b"") == event
    assert not client.sent[-1].get("more_body")
    assert stream.late_status == 503


async def test_a_late_answer_that_is_no_stream_is_told_as_a_mistake_of_the_engine() -> None:
    client = SlowClient()
    json: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    stream = await answer([SILENCE, json, {"type": "http.response.body", "body": b"{}"}], client)
    assert b'"engine_error"' in client.body
    assert stream.late_status == 502
