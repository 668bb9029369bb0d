"""How a response is written: on real sockets, the protocol's transport counting what is handed to the system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from engineroom.asgi import SENT, ASGIApp, Receive, Scope, Send
from engineroom_workers.http.protocol import RequestMemory, make_protocol

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
PIECE = b"data: {}\n\n"
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


def piece(body: bytes = PIECE, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


class CountedTransport:
    """A transport of the loop's, which notes each write."""

    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(bytes(data))
        self._transport.write(data)

    def writelines(self, parts: Any) -> None:
        parts = list(parts)
        self._writes.append(b"".join(parts))
        self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@asynccontextmanager
async def connected(
    app: ASGIApp,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, list[bytes]]]:
    """A client of the app, and what the server writes."""
    writes: list[bytes] = []
    config = uvicorn.Config(app, lifespan="off", log_config=None)
    state = ServerState()

    class Counting(make_protocol(60, RequestMemory(10**8))):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(CountedTransport(transport, writes))

    def protocol() -> asyncio.Protocol:
        made: asyncio.Protocol = Counting(config=config, server_state=state, app_state={})
        return made

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        yield reader, writer, writes
        writer.close()
    finally:
        server.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def test_a_head_leaves_with_what_follows_and_each_piece_alone() -> None:
    kinds: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(5):
            kinds.append(send(piece()))
            await asyncio.sleep(0)
        await send(piece(b"data: [DONE]\n\n", more=False))

    async with connected(app) as (reader, writer, writes):
        writer.write(GET)
        answer = await reader.readuntil(b"0\r\n\r\n")
    assert b"".join(writes) == answer
    assert [data.count(PIECE) for data in writes] == [1, 1, 1, 1, 1, 0]
    assert writes[0].startswith(b"HTTP/1.1 200")
    assert writes[-1].endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
    assert all(kind is SENT for kind in kinds)


async def test_a_whole_response_is_one_write_and_the_connection_goes_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"2"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"ok"})

    async with connected(app) as (reader, writer, writes):
        for number in (1, 2):
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
            assert len(writes) == number


async def test_a_head_does_not_wait_for_a_body_that_takes_its_time() -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await go_on.wait()
        await send(piece(more=False))

    async with connected(app) as (reader, writer, writes):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        assert len(writes) == 1
        go_on.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"a\r\n" + PIECE + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_head_without_a_body_is_sent(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with connected(app) as (reader, writer, writes):
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert len(writes) == 1


async def test_a_slow_client_is_waited_for_and_gets_all_of_it() -> None:
    size, count = 100_000, 200
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for number in range(count):
            await send(piece(bytes([number]) * size))
            sent = number + 1
        await send(piece(b"", more=False))

    async with connected(app) as (reader, writer, _):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != sent:  # Until the sockets and the transport are full.
            before = sent
            await asyncio.sleep(0.05)
        assert 0 < sent < count
        for number in range(count):
            assert await reader.readline() == b"%x\r\n" % size
            assert await reader.readexactly(size + 2) == bytes([number]) * size + b"\r\n"
        assert await reader.readexactly(5) == b"0\r\n\r\n"
    assert sent == count


async def test_a_client_that_leaves_amid_a_stream_leaves_nothing_waiting() -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(1000):
            await send(piece(b"x" * 100_000))
        ended.set_result(None)

    async with connected(app) as (reader, writer, _):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await asyncio.wait_for(ended, 60)


async def test_what_breaks_amid_a_stream_breaks_its_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(piece())
        raise RuntimeError("broken")

    async with connected(app) as (reader, writer, _):
        writer.write(GET)
        answer = await reader.read()
    assert answer.endswith(PIECE + b"\r\n")


async def test_a_response_that_breaks_the_rules_is_an_error() -> None:
    outcomes: list[str] = []

    async def attempt(made: Callable[[], Awaitable[None]]) -> None:
        try:
            await made()
        except RuntimeError as error:
            outcomes.append(str(error))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await attempt(lambda: send(piece()))
        bad = [(b"x-bad", b"a\r\nset-cookie: b")]
        await attempt(lambda: send({"type": "http.response.start", "status": 200, "headers": bad}))

    async with connected(app) as (reader, writer, _):
        writer.write(GET)
        await reader.read()
    assert len(outcomes) == 2


class _MemoryTransport:
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None:
        return None

    def close(self) -> None:
        pass


async def test_of_many_that_arrive_together_the_first_are_answered_before_the_last_begin() -> None:
    events: list[tuple[str, int]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        number = int(scope["path"][1:])
        events.append(("begins", number))
        await asyncio.sleep(0)  # As an engine that answers by the next turn of the loop.
        events.append(("is answered", number))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, lifespan="off", log_config=None)
    state = ServerState()
    made = make_protocol(60, RequestMemory(10**8))
    transports = [_MemoryTransport() for _ in range(50)]
    for number, transport in enumerate(transports):
        protocol: Any = made(config=config, server_state=state, app_state={})
        protocol.connection_made(transport)
        protocol.data_received(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
    for _ in range(100):  # Turns of the loop; a few requests begin in each.
        await asyncio.sleep(0)
    assert state.total_requests == len(transports)
    assert [number for what, number in events if what == "begins"] == list(range(50))
    assert events.index(("is answered", 0)) < events.index(("begins", 49))
    assert all(transport.written.startswith(b"HTTP/1.1 204 ") for transport in transports)
