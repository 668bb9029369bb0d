"""Connections that are kept, for how long, how many; Unix sockets and TLS."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair
from scripted_server import Call, ScriptedServer, scripted

from engineroom.http_client import ConnectionFailedError, ConnectionPool, Origin
from engineroom.server.address import Address
from engineroom.server.connection import Upstream

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def answer(call: Call) -> None:
    await call.send(ANSWER)


async def ask(pool: ConnectionPool) -> bytes:
    async with await pool.request("POST", "/", {}, b"{}") as response:
        return await response.read()


async def test_requests_one_after_another_share_a_connection_and_those_at_once_do_not() -> None:
    async with scripted(answer) as (server, port):
        pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=5)
        for _ in range(3):
            await ask(pool)
        assert server.connections == 1
        await asyncio.gather(*(ask(pool) for _ in range(20)))
        assert server.connections == 20
        await asyncio.gather(*(ask(pool) for _ in range(20)))
        assert server.connections == 20
        pool.close()


async def test_nothing_is_kept_where_it_is_to_be_new_each_time() -> None:
    async with scripted(answer) as (server, port):
        pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=0)
        for number in range(3):
            await ask(pool)
            assert server.connections == number + 1
        pool.close()


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with scripted(answer) as (server, port):
        pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=0.05)
        await ask(pool)
        await asyncio.wait_for(server.gone.wait(), 5)
        await ask(pool)
        assert server.connections == 2
        pool.close()


async def test_no_more_are_kept_open_than_the_server_has_threads_for() -> None:
    release = asyncio.Event()
    all_arrived = asyncio.Event()

    async def wait(call: Call) -> None:
        if server.connections == 5:
            all_arrived.set()
        await release.wait()
        await call.send(ANSWER)

    async with scripted(wait) as (server, port):
        pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=5, keep_limit=2)
        asking = [asyncio.ensure_future(ask(pool)) for _ in range(5)]
        await asyncio.wait_for(all_arrived.wait(), 5)
        release.set()
        await asyncio.gather(*asking)
        await asyncio.gather(ask(pool), ask(pool))
        assert server.connections == 5
        await asyncio.gather(ask(pool), ask(pool), ask(pool))
        assert server.connections == 6
        pool.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    async with scripted(answer, unix=path) as (server, _):
        pool = ConnectionPool(Origin("engine", 80, str(path)), {}, keep_alive=5)
        assert await ask(pool) == b"hi"
        assert b"host: engine\r\n" in server.heads[0]
        pool.close()


async def test_a_unix_socket_whose_server_is_slow_to_accept(tmp_path: Path) -> None:
    """The kernel refuses what exceeds the backlog at once, where it lets TCP wait."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        listening.setblocking(False)
        pool = ConnectionPool(Origin("engine", 80, str(path)), {}, keep_alive=5)
        asking = [asyncio.ensure_future(ask(pool)) for _ in range(5)]
        await asyncio.sleep(0.02)
        server = await asyncio.start_unix_server(ScriptedServer(answer).serve, sock=listening)
        assert await asyncio.wait_for(asyncio.gather(*asking), 5) == [b"hi"] * 5
        pool.close()
        server.close()


async def test_an_address_that_swallows_what_is_sent_keeps_the_next_one_not_waiting() -> None:
    hole = socket.create_server(("127.0.0.1", 0), backlog=0)
    filling = [socket.socket() for _ in range(4)]
    for each in filling:
        each.setblocking(False)
        each.connect_ex(hole.getsockname())
    lookups = 0

    async def resolve(host: str, port: int) -> list[Any]:
        nonlocal lookups
        lookups += 1
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, hole.getsockname()), (*kind, ("127.0.0.1", port))]

    async with scripted(answer) as (server, port):
        pool = ConnectionPool(Origin("two.example", port), {}, keep_alive=5, connect_timeout=5)
        pool._resolve = resolve
        assert await asyncio.gather(*(ask(pool) for _ in range(5))) == [b"hi"] * 5
        assert (server.connections, lookups) == (5, 1)
        pool.close()
    for each in (hole, *filling):
        each.close()


async def test_a_name_that_has_no_address_may_have_one_the_next_time() -> None:
    answers: list[Any] = [OSError("no such name")]

    async def resolve(host: str, port: int) -> list[Any]:
        if answers:
            raise answers.pop()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with scripted(answer) as (_, port):
        pool = ConnectionPool(Origin("new.example", port), {}, keep_alive=5)
        pool._resolve = resolve
        with pytest.raises(ConnectionFailedError, match="no such name"):
            await ask(pool)
        assert await ask(pool) == b"hi"
        pool.close()


def tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side, and the certificate of who signed it."""
    pair = Pair()
    (folder / "certificate.pem").write_bytes(pair.certificate)
    (folder / "key.pem").write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context, folder / "certificate.pem"


async def test_tls_with_an_authority_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, certificate = tls(tmp_path)
    async with scripted(answer, tls=context) as (server, port):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        pool = ConnectionPool(Origin.of_url(f"https://127.0.0.1:{port}/v1"), {}, keep_alive=5)
        for _ in range(2):
            assert await ask(pool) == b"hi"
        assert server.connections == 1
        pool.close()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a server without TLS says to one that begins it."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_the_kernel_watches_for_a_machine_that_vanishes(tmp_path: Path, secure: bool) -> None:
    context, certificate = tls(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with scripted(answer, tls=context if secure else None) as (_, port):
        pool = ConnectionPool(
            Origin("127.0.0.1", port, None, trusting if secure else None), {}, keep_alive=5, silence=30
        )
        await ask(pool)
        connected = next(iter(pool._open))._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(connected.fileno())) as same:
            assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        pool.close()


async def test_tls_with_a_stranger_or_with_none(tmp_path: Path) -> None:
    context, _ = tls(tmp_path)
    async with scripted(answer, tls=context) as (_, port):
        with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
            await ask(ConnectionPool(Origin.of_url(f"https://127.0.0.1:{port}"), {}, keep_alive=5))
    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionFailedError, match=r"WRONG_VERSION_NUMBER|record layer"):
        await ask(ConnectionPool(Origin.of_url(f"https://127.0.0.1:{port}"), {}, keep_alive=5))
    plain.close()


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://host/v1", "host", 80, "host"),
        ("http://host:8000", "host", 8000, "host:8000"),
        ("https://host:443/x", "host", 443, "host"),
        ("http://[::1]:8000/v1", "::1", 8000, "[::1]:8000"),
        ("http://bücher.example/v1", "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
    ],
)
def test_a_url_has_an_origin(url: str, host: str, port: int, authority: str) -> None:
    origin = Origin.of_url(url)
    assert (origin.host, origin.port, origin.authority) == (host, port, authority)


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host", "http://", "unix:/x"])
def test_what_is_no_url_of_http(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of an HTTP server"):
        Origin.of_url(url)


async def test_a_request_given_up_while_its_connection_fails_leaves_no_error_behind() -> None:
    """Whatever the moment: an error that nobody is left to hear of would be logged as one of the worker's own."""
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        upstream = Upstream.at(Address(None, closed.getsockname()[1]), {}, keep_alive=5)
        for turns in range(12):
            asking = asyncio.ensure_future(upstream.fetch("GET", "/"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled():
                assert isinstance(asking.exception(), ConnectionFailedError)
        await upstream.close()
    gc.collect()
    assert not lost
