"""Pieces of a stream that pass layers by: what they may not pass, and what the layers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from engineroom.asgi import FastPath, Message, at_head, fast_path
from engineroom.openai.heartbeats import COMMENT, HeartbeatStream
from engineroom.openai.routes import CHAT_COMPLETIONS

START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}


class Client:
    """The end of a response: all that came, in its order. beaten: set with a heartbeat."""

    def __init__(self) -> None:
        self.body = b""
        self.beaten = asyncio.Event()
        self.takes = True

    async def send(self, message: Message) -> None:
        self.body += message.get("body", b"")
        if message.get("body") == COMMENT:
            self.beaten.set()

    def fast_path(self) -> FastPath:
        return FastPath(self._write)

    def _write(self, piece: bytes) -> bool:
        if self.takes:
            self.body += piece
        return self.takes


class Watching:
    """A layer that watches a stream. told: its name with each piece, in a list for all of them."""

    def __init__(self, name: str, told: list[tuple[str, bytes]]) -> None:
        self._name = name
        self._told = told

    def note_pieces(self, times: Sequence[float], pieces: Sequence[bytes]) -> None:
        assert len(times) == len(pieces)
        assert list(times) == sorted(times)
        self._told += [(self._name, piece) for piece in pieces]


def path(send: object) -> FastPath:
    found = fast_path(send)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "piece", [b"", b"data: 1", b"data: 1\n", b"data: 1\r\n\r\n", b": 1\n\n", b'data: {"usage": 1}\n\n'], ids=repr
)
def test_what_a_layer_has_to_see_does_not_pass(piece: bytes) -> None:
    client = Client()
    fast = path(client.send)
    fast.reserve(b'"usage"')
    assert fast.take(b"data: 0\n\n")
    assert not fast.take(piece)
    assert not fast.take(b"data: 2\n\n"), "what follows is not to overtake it"
    assert client.body == b"data: 0\n\n"


def test_a_client_that_cannot_take_it_now_is_for_the_layers() -> None:
    client = Client()
    fast = path(client.send)
    client.takes = False
    assert not fast.take(b"data: 0\n\n")


def test_layers_are_told_of_all_in_its_order_and_the_innermost_first() -> None:
    told: list[tuple[str, bytes]] = []
    fast = path(Client().send)
    for name in ("outer", "inner"):
        fast.observe(Watching(name, told))
    pieces = [b"data: %d\n\n" % number for number in range(50)]
    for piece in pieces:
        assert fast.take(piece)
    assert len(told) < 2 * len(pieces), "not of each by itself"
    fast.catch_up()
    for name in ("outer", "inner"):
        assert [piece for who, piece in told if who == name] == pieces
    assert told[0][0] == "inner"


def test_what_nobody_lets_pass_has_no_path() -> None:
    client = Client()

    def send(message: Message) -> Awaitable[None]:
        return client.send(message)

    assert fast_path(send) is None
    assert fast_path(at_head(send, send)) is None
    assert fast_path(at_head(client.send, send)) is not None


async def test_a_heartbeat_breaks_a_silence_amid_a_fast_stream() -> None:
    client = Client()
    stream = HeartbeatStream(CHAT_COMPLETIONS, client.send, 0.05)
    try:
        await stream.send(START)
        assert fast_path(stream.send) is None, "it has not begun"
        await stream.send({"type": "http.response.body", "body": b"data: 0\n\n", "more_body": True})
        fast = path(stream.send)
        assert fast.take(b"data: 1\n\n")
        await asyncio.wait_for(client.beaten.wait(), 60)
        assert not fast.take(b"data: 11\n\n"), "the heartbeat goes first"
        await stream.send({"type": "http.response.body", "body": b"data: 11\n\n", "more_body": True})
        assert path(stream.send).take(b"data: 12\n\n")
        assert client.body.endswith(COMMENT + b"data: 11\n\ndata: 12\n\n")
    finally:
        await stream.close()
