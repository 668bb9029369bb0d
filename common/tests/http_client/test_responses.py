"""Responses of every framing, split anywhere, cut off anywhere, and with what does not belong there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest
from scripted_server import Call, Script, ScriptedServer, scripted

from engineroom.http_client import (
    FAILURES,
    ConnectionFailedError,
    ConnectionLostError,
    ConnectionPool,
    InvalidResponseError,
    Origin,
    ResponseTimeoutError,
    ServerResponse,
)

TEXT = b"data: one\n\ndata: two\n\ndata: [DONE]\n\n"


def chunked(body: bytes, size: int = 7, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """`body` in chunks of `size` bytes."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return framed + b"0\r\n" + trailers + b"\r\n"


OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
KEPT = {
    "chunked": CHUNKED + chunked(TEXT),
    "a chunk": CHUNKED + chunked(TEXT, 1000),
    "bytes": CHUNKED + chunked(TEXT, 1),
    "upper case": OK.upper() + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + chunked(TEXT),
    "extensions": CHUNKED + chunked(TEXT, 5, b';a=b;c="d"'),
    "trailers": CHUNKED + chunked(TEXT, 5, trailers=b"x-sum: 5\r\ny: z\r\n"),
    "length": OK + b"content-length: %d\r\n\r\n%s" % (len(TEXT), TEXT),
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + chunked(TEXT),
    "early hints": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 3 + CHUNKED + chunked(TEXT),
    "folded": OK + b"x-long: a\r\n b\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(TEXT),
    "no reason": b"HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(TEXT),
}
ENDING = {
    "until closed": OK + b"\r\n" + TEXT,
    "HTTP/1.0": OK.replace(b"1.1", b"1.0") + b"\r\n" + TEXT,
    "closing, chunked": OK + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(TEXT),
    "closing, length": OK + b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(TEXT), TEXT),
}


@asynccontextmanager
async def pooled(script: Script, **options: float) -> AsyncIterator[tuple[ScriptedServer, ConnectionPool]]:
    async with scripted(script) as (server, port):
        pool = ConnectionPool(Origin("127.0.0.1", port), {}, **{"keep_alive": 5, **options})  # type: ignore[arg-type]
        try:
            yield server, pool
        finally:
            pool.close()


async def relayed(response: ServerResponse) -> bytes:
    parts: list[bytes] = []
    ended: list[bool] = []

    def sink(piece: bytes, last: bool) -> Awaitable[None] | None:
        assert not ended
        ended.extend([last] * last)
        parts.append(piece)
        # Now at once, now in a while: both have to keep the order.
        return asyncio.sleep(0.001) if len(parts) % 3 == 0 else None

    await response.relay(sink)
    return b"".join(parts)


async def read(response: ServerResponse) -> bytes:
    return await response.read()


async def in_pieces(response: ServerResponse) -> bytes:
    return b"".join([piece async for piece in response.pieces()])


@pytest.mark.parametrize("reading", [relayed, read, in_pieces])
@pytest.mark.parametrize("form", KEPT)
async def test_a_response_is_the_same_however_it_arrives(form: str, reading: object) -> None:
    steps = iter([0, 1, 3, 64])

    async def script(call: Call) -> None:
        await call.send(KEPT[form], next(steps))

    async with pooled(script) as (server, pool):
        for _ in range(4):
            async with await pool.request("POST", "/", {}, b"{}") as response:
                assert response.status == 200
                assert await reading(response) == TEXT  # type: ignore[operator]
        assert server.connections == 1


@pytest.mark.parametrize("form", ENDING)
async def test_a_response_that_ends_its_connection(form: str) -> None:
    async def script(call: Call) -> None:
        await call.send(ENDING[form], 5)
        call.writer.close()

    async with pooled(script) as (server, pool):
        for _ in range(2):
            async with await pool.request("GET", "/") as response:
                assert await relayed(response) == TEXT
        assert server.connections == 2


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("form", ["chunked", "bytes", "extensions", "trailers", "length", "early hints"])
async def test_a_response_that_breaks_off_is_never_taken_for_whole(form: str, reset: bool) -> None:
    """Wherever that is. What had arrived of the body is given before."""
    whole = KEPT[form]
    cuts = random.Random(form).sample(range(len(whole)), 12)

    async def script(call: Call) -> None:
        await call.send(whole[: cuts[0]])
        await asyncio.sleep(0.002)
        if reset:
            call.reset()
        else:
            call.writer.close()

    async with pooled(script, keep_alive=0) as (_, pool):
        while cuts:
            pieces: list[bytes] = []
            with pytest.raises(ConnectionLostError):
                await collect(pool, pieces)
            assert TEXT.startswith(b"".join(pieces))
            cuts.pop(0)


async def collect(pool: ConnectionPool, pieces: list[bytes]) -> None:
    """Ask, and add to `pieces` what comes, also where it breaks off then."""
    async with await pool.request("POST", "/", {}, b"{}") as response:
        async for piece in response.pieces():
            pieces.append(piece)


WRONG = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "two lengths": OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "length and chunks": OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"abc"),
    "length below 0": OK + b"content-length: -1\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nabc",
    "large head": OK + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
    "endless head": OK + b"x: y\r\n" * 20_000,
    "many headers": OK + b"x: y\r\n" * 300 + b"content-length: 0\r\n\r\n",
    "endless hints": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5_000,
}


@pytest.mark.parametrize("kind", WRONG)
async def test_what_is_no_response_is_an_error(kind: str) -> None:
    async def script(call: Call) -> None:
        await call.send(WRONG[kind])
        await call.reader.read()

    async with pooled(script) as (server, pool):
        with pytest.raises(InvalidResponseError):
            await pool.request("POST", "/", {}, b"{}")
        await asyncio.wait_for(server.gone.wait(), 5)


WRONG_BODIES = {
    "no size": b"size\r\nxyz\r\n",
    "huge size": b"fffffffffffffffff\r\nabc",
    "longer than its size": b"1\r\nabc\r\n0\r\n\r\n",
    "long extension": b"1;" + b"x" * 500_000 + b"\r\na\r\n0\r\n\r\n",
    "endless trailers": b"1\r\na\r\n0\r\n" + b"x: y\r\n" * 300,
    "a long trailer": b"1\r\na\r\n0\r\nx: " + b"y" * 500_000,
}


@pytest.mark.parametrize("kind", WRONG_BODIES)
async def test_what_is_no_body_is_an_error(kind: str) -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED + chunked(b"first", 5)[:-5])
        await asyncio.sleep(0.005)
        await call.send(WRONG_BODIES[kind], 16_000)
        await call.reader.read()

    async with pooled(script) as (server, pool):
        with pytest.raises(InvalidResponseError):
            async with await pool.request("POST", "/", {}, b"{}") as response:
                await relayed(response)
        await asyncio.wait_for(server.gone.wait(), 5)


@pytest.mark.parametrize("delay", [0, 0.01])
async def test_what_follows_a_response_unasked_belongs_to_no_other(delay: float) -> None:
    async def script(call: Call) -> None:
        if delay:
            await call.send(KEPT["chunked"])
            await asyncio.sleep(delay)
            await call.send(KEPT["length"].replace(b"one", b"bad"))
        else:
            await call.send(KEPT["chunked"] + KEPT["length"].replace(b"one", b"bad"))

    async with pooled(script) as (server, pool):
        for _ in range(3):
            async with await pool.request("POST", "/", {}, b"{}") as response:
                assert await response.read() == TEXT
            await asyncio.sleep(3 * delay)
        assert server.connections == 3


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"]
)
async def test_a_status_without_a_body_has_none(head: bytes) -> None:
    async def script(call: Call) -> None:
        await call.send(head)

    async with pooled(script) as (_, pool):
        for _ in range(2):
            async with await pool.request("GET", "/") as response:
                assert (response.status, await response.read()) == (int(head[9:12]), b"")


async def test_a_server_that_speaks_first_is_no_server_of_http() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = ConnectionPool(Origin("127.0.0.1", listening.sockets[0].getsockname()[1]), {}, keep_alive=5)
    for _ in range(5):
        with pytest.raises(InvalidResponseError):
            await pool.request("GET", "/")
    pool.close()
    listening.close()


async def test_headers_are_by_lower_case_names_and_repeated_ones_together() -> None:
    async def script(call: Call) -> None:
        await call.send(b"HTTP/1.1 429 X\r\nRetry-After:  7 \r\nVary: a\r\nvary: b\r\n")
        await call.send(b"Content-Type: Text/Plain; x=y\r\ncontent-length: 0\r\n\r\n")

    async with pooled(script) as (_, pool), await pool.request("GET", "/") as response:
        assert response.headers["retry-after"] == "7"
        assert response.headers["vary"] == "a, b"
        assert response.content_type == "text/plain"


async def test_a_reader_that_leaves_ends_the_connection() -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED)
        while True:
            await call.send(b"5\r\nhello\r\n")
            await asyncio.sleep(0.001)

    async with pooled(script) as (server, pool):
        async with await pool.request("POST", "/", {}, b"{}") as response:
            assert await response.read_available()
        await asyncio.wait_for(server.gone.wait(), 5)


@pytest.mark.parametrize("moment", ["before the head", "amid the body", "while the sink waits"])
async def test_a_task_that_is_cancelled_ends_the_connection(moment: str) -> None:
    reached = asyncio.Event()

    async def script(call: Call) -> None:
        if moment == "before the head":
            reached.set()
        else:
            await call.send(CHUNKED + b"5\r\nhello\r\n")
            await asyncio.sleep(0.005)
            await call.send(b"5\r\nhello\r\n")
        await call.reader.read(1)
        raise ConnectionResetError

    async def ask(pool: ConnectionPool) -> None:
        async with await pool.request("POST", "/", {}, b"{}") as response:
            pieces = 0

            def sink(piece: bytes, last: bool) -> Awaitable[None] | None:
                nonlocal pieces
                pieces += len(piece) // 5
                if pieces == 2:
                    reached.set()
                    return asyncio.sleep(60) if moment == "while the sink waits" else None
                return None

            await response.relay(sink)

    async with pooled(script) as (server, pool):
        task = asyncio.ensure_future(ask(pool))
        await asyncio.wait_for(reached.wait(), 5)
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_a_sink_that_fails_ends_the_relay_with_its_error() -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED)
        for _ in range(1000):
            await call.send(b"5\r\nhello\r\n")
            await asyncio.sleep(0.001)

    def sink(piece: bytes, last: bool) -> None:
        if calls:
            raise LookupError("no more")
        calls.append(piece)

    calls: list[bytes] = []
    async with pooled(script) as (server, pool):
        with pytest.raises(LookupError, match="no more"):
            async with await pool.request("POST", "/", {}, b"{}") as response:
                await response.relay(sink)
        assert len(calls) == 1
        await asyncio.wait_for(server.gone.wait(), 5)


@pytest.mark.parametrize("how", ["nobody reads", "the sink waits"])
async def test_a_slow_reader_slows_the_server(how: str) -> None:
    sent = 0
    size = 64 << 20

    async def script(call: Call) -> None:
        nonlocal sent
        await call.send(OK + b"content-length: %d\r\n\r\n" % size)
        while sent < size:
            await call.send(b"x" * 65536)
            sent += 65536

    async with pooled(script) as (_, pool):
        task: asyncio.Task[None] | None = None
        response = await pool.request("POST", "/", {}, b"{}")
        total = 0
        released = asyncio.Event()

        async def wait(piece: bytes, last: bool) -> None:
            nonlocal total
            total += len(piece)
            await released.wait()

        if how == "the sink waits":
            task = asyncio.ensure_future(response.relay(wait))
        await asyncio.sleep(0.3)
        assert sent < size / 2
        released.set()
        if task is None:
            total = len(await response.read())
        else:
            await task
        assert total == size


async def test_the_last_piece_is_known_where_the_end_arrives_with_it() -> None:
    pieces: list[tuple[bytes, bool]] = []

    async def script(call: Call) -> None:
        await call.send(OK + b"content-length: 10\r\n\r\nfirst")
        await asyncio.sleep(0.01)
        await call.send(b"other")

    async with pooled(script) as (_, pool), await pool.request("POST", "/", {}, b"{}") as response:
        await response.relay(lambda piece, last: pieces.append((piece, last)))
    assert pieces == [(b"first", False), (b"other", True)]


async def test_context_variables_are_those_of_the_task_that_relays() -> None:
    from contextvars import ContextVar

    request_id = ContextVar("request_id", default="none")

    async def script(call: Call) -> None:
        for byte in chunked(TEXT, 7).splitlines(keepends=True):
            await call.send((b"" if len(seen) else CHUNKED) + byte)
            seen.append("")
            await asyncio.sleep(0.001)

    seen: list[str] = []
    ids: set[str] = set()
    async with pooled(script) as (_, pool), await pool.request("POST", "/", {}, b"{}") as response:
        request_id.set("mine")
        await response.relay(lambda piece, last: ids.add(request_id.get()))
    assert ids == {"mine"}


async def test_a_connection_that_went_stale_is_replaced_and_the_request_sent_once_more() -> None:
    async def script(call: Call) -> None:
        if len(server.heads) == 2:
            call.reset()  # The second request, on the kept connection, is not answered by a byte.
            return
        await call.send(KEPT["length"])

    async with pooled(script) as (server, pool):
        for _ in range(2):
            async with await pool.request("POST", "/", {}, b"once more") as response:
                assert await response.read() == TEXT
        assert server.connections == 2
        assert server.bodies == [b"once more"] * 3


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_request_that_may_have_run_is_not_sent_again(start: bytes) -> None:
    """On a new connection it has reached the server; and one that has begun to answer has begun to work."""

    async def script(call: Call) -> None:
        if start and len(server.heads) == 1:
            await call.send(KEPT["length"])
            return
        await call.send(start)
        call.reset()

    async with pooled(script) as (server, pool):
        if start:
            async with await pool.request("POST", "/", {}, b"{}") as response:
                await response.read()
        with pytest.raises(ConnectionLostError):
            await pool.request("POST", "/", {}, b"{}")
        assert len(server.heads) == (2 if start else 1)


async def test_a_server_that_answers_before_it_has_read_all() -> None:
    """The rest of the request must not be taken for the next one."""
    size = 32 << 20

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = ConnectionPool(Origin("127.0.0.1", listening.sockets[0].getsockname()[1]), {}, keep_alive=5)
    for _ in range(2):
        async with await pool.request("POST", "/", {}, b"x" * size) as response:
            assert (response.status, await response.read()) == (413, b"big")
    pool.close()
    listening.close()


async def test_a_silent_server_is_left_after_its_time_and_a_slow_reader_is_no_silence() -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED + b"5\r\nhello\r\n")
        if b"/slow" in call.head:
            for _ in range(12):
                await asyncio.sleep(0.1)
                await call.send(b"5\r\nhello\r\n")
            await call.send(b"0\r\n\r\n")
        else:
            await call.reader.read()

    async with pooled(script, idle_timeout=1) as (server, pool):
        async with await pool.request("GET", "/slow") as response:
            await asyncio.sleep(1.3)
            assert (await response.read()).endswith(b"hello")
        with pytest.raises(ResponseTimeoutError):
            async with await pool.request("GET", "/silent") as response:
                await relayed(response)
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_a_server_that_is_not_there() -> None:
    async with scripted(lambda call: call.send(b"")) as (_, port):
        pass
    pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=5)
    with pytest.raises(ConnectionFailedError, match=r"refused|Connect call failed"):
        await pool.request("GET", "/")
    pool = ConnectionPool(Origin("engine", 80, "/nowhere/engine.sock"), {}, keep_alive=5)
    with pytest.raises(ConnectionFailedError):
        await pool.request("GET", "/")
    with pytest.raises(ConnectionFailedError):
        await ConnectionPool(Origin("no-such-name.invalid", 80), {}, keep_alive=5).request("GET", "/")


async def test_what_is_closed_here_breaks_off() -> None:
    async def script(call: Call) -> None:
        await call.send(CHUNKED + b"5\r\nhello\r\n")
        await call.reader.read()

    async with pooled(script) as (_, pool):
        response = await pool.request("GET", "/")
        reading = asyncio.ensure_future(response.read())
        await asyncio.sleep(0.01)
        pool.close()
        with pytest.raises(FAILURES):
            await reading


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET\r\n", "/", {}),
        ("GET", "/ HTTP/1.1\r\nx: y", {}),
        ("GET", "/", {b"x": b"a\r\nb: c"}),
        ("GET", "/", {b"x\n": b"a"}),
    ],
)
async def test_a_head_has_no_line_break_of_its_own(method: str, target: str, headers: dict[bytes, bytes]) -> None:
    pool = ConnectionPool(Origin("127.0.0.1", 1), {}, keep_alive=5)
    with pytest.raises(ValueError, match="line break"):
        await pool.request(method, target, headers)


@pytest.mark.parametrize("method", ["HEAD", "CONNECT"])
async def test_a_method_whose_response_ends_otherwise_is_not_sent(method: str) -> None:
    with pytest.raises(ValueError, match=method):
        await ConnectionPool(Origin("127.0.0.1", 1), {}, keep_alive=5).request(method, "/")


async def test_what_a_request_looks_like() -> None:
    async def script(call: Call) -> None:
        await call.send(KEPT["length"])

    async with scripted(script) as (server, port):
        pool = ConnectionPool(Origin("127.0.0.1", port), {"Authorization": "Bearer k"}, keep_alive=5)
        headers = {b"accept": b"text/event-stream", b"content-type": b"application/json"}
        async with await pool.request("POST", "/v1?a=b", headers, b"{}") as response:
            await response.read()
        async with await pool.request("GET", "/") as response:
            await response.read()
        pool.close()
    first, second = (head.decode().splitlines() for head in server.heads)
    assert first[0] == "POST /v1?a=b HTTP/1.1"
    assert sorted(first[1:-1]) == sorted(
        [
            f"host: 127.0.0.1:{port}",
            "authorization: Bearer k",
            "accept: text/event-stream",
            "content-type: application/json",
            "content-length: 2",
        ]
    )
    assert sorted(second[1:-1]) == sorted([f"host: 127.0.0.1:{port}", "authorization: Bearer k", "accept: */*"])
