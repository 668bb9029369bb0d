"""Real servers behind the client: uvicorn with both of its parsers, nginx in front of it, and aiohttp's.

Bodies of random sizes in random pieces, many at once, on connections that are used again; what each server does with
its ends is its own. llama.cpp and vLLM answer through the same client in their engines' tests.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from aiohttp import web
from http_door import free_port
from server_process import ServerProcess

from engineroom.asgi import Receive, Scope, Send
from engineroom.http_client import ConnectionLostError, ConnectionPool, Origin, ServerResponse

NGINX = """
pid nginx.pid;
error_log stderr error;
daemon off;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_buffering off;
        }}
    }}
}}
"""


def pieces(seed: str) -> list[bytes]:
    """A body in pieces: some of a byte, some larger than any buffer on the way."""
    rng = random.Random(seed)
    sizes = (1, 3, 200, 5_000, 100_000, 700_000)
    return [rng.randbytes(rng.choice(sizes)) for _ in range(rng.randint(0, 12))]


class StreamingApp:
    """Answers GET /stream/SEED and /whole/SEED with those pieces, and breaks off /broken/SEED.

    left: set once a client has gone amid /endless/.
    """

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, kind, seed = scope["path"].split("/")
        body = pieces(seed)
        headers = [(b"content-type", b"text/plain")]
        if kind == "whole":
            headers.append((b"content-length", b"%d" % sum(map(len, body))))
        if kind in ("broken", "endless"):
            body = body or [b"x"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0 if len(piece) > 3 else 0.001)
        if kind == "broken":
            raise RuntimeError("it breaks off")
        while kind == "endless" and not self.left.is_set():
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.001)
            gone = asyncio.ensure_future(receive())
            await asyncio.wait({gone}, timeout=0.001)
            if gone.done() and gone.result()["type"] == "http.disconnect":
                self.left.set()
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def uvicorn_serving(app: StreamingApp, parser: str) -> AsyncIterator[int]:
    config = uvicorn.Config(app, http=parser, lifespan="off", log_level="critical")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    task = asyncio.ensure_future(server._serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


@asynccontextmanager
async def nginx_serving(app: StreamingApp, folder: Path) -> AsyncIterator[int]:
    if not (binary := shutil.which("nginx")):
        pytest.skip("nginx is not installed")
    port = free_port()
    async with uvicorn_serving(app, "httptools") as behind:
        (folder / "nginx.conf").write_text(NGINX.format(port=port, behind=behind))
        nginx = ServerProcess([binary, "-p", str(folder), "-c", "nginx.conf"], folder / "log")
        try:
            await asyncio.to_thread(nginx.until_listening, port)
            yield port
        finally:
            await asyncio.to_thread(nginx.stop)


@asynccontextmanager
async def aiohttp_serving(app: StreamingApp) -> AsyncIterator[int]:
    async def answer(call: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = {k.decode(): v.decode() for k, v in message["headers"]}  # type: ignore[attr-defined]
                response.headers.extend(headers)
                await response.prepare(call)
            elif message["body"]:
                await response.write(message["body"])  # type: ignore[arg-type]

        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()  # It says so by an error of `write`.
            return {}

        try:
            await app({"path": call.path}, receive, send)  # type: ignore[arg-type]
        except ConnectionError:
            app.left.set()
        except RuntimeError:
            assert call.transport is not None
            call.transport.close()
        return response

    routes = web.Application()
    routes.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(routes)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture(params=["uvicorn, httptools", "uvicorn, h11", "nginx", "aiohttp"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[StreamingApp, ConnectionPool]]:
    app = StreamingApp()
    serving = {
        "uvicorn, httptools": lambda: uvicorn_serving(app, "httptools"),
        "uvicorn, h11": lambda: uvicorn_serving(app, "h11"),
        "nginx": lambda: nginx_serving(app, tmp_path),
        "aiohttp": lambda: aiohttp_serving(app),
    }[request.param]
    async with serving() as port:
        pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=30)
        try:
            yield app, pool
        finally:
            pool.close()


async def relayed(response: ServerResponse, rng: random.Random) -> bytes:
    parts: list[bytes] = []

    def sink(piece: bytes, last: bool) -> Awaitable[None] | None:
        parts.append(piece)
        return asyncio.sleep(rng.random() / 500) if rng.random() < 0.3 else None

    await response.relay(sink)
    return b"".join(parts)


async def test_bodies_arrive_as_they_were_sent(served: tuple[StreamingApp, ConnectionPool]) -> None:
    _, pool = served

    async def ask(kind: str, seed: str) -> bool:
        async with await pool.request("GET", f"/{kind}/{seed}") as response:
            rng = random.Random(seed)
            body = await (relayed(response, rng) if rng.random() < 0.7 else response.read())
        return body == b"".join(pieces(seed))

    for around in range(3):
        asking = [ask(kind, f"{around}-{n}") for n in range(10) for kind in ("stream", "whole")]
        assert all(await asyncio.gather(*asking))


async def test_a_body_that_breaks_off_is_not_taken_for_whole(served: tuple[StreamingApp, ConnectionPool]) -> None:
    _, pool = served
    for seed in range(5):
        response = await pool.request("GET", f"/broken/{seed}")
        with pytest.raises(ConnectionLostError):
            await relayed(response, random.Random(seed))


async def test_a_server_learns_of_a_reader_that_leaves(served: tuple[StreamingApp, ConnectionPool]) -> None:
    app, pool = served
    async with await pool.request("GET", "/endless/1") as response:
        assert await response.read_available()
    await asyncio.wait_for(app.left.wait(), 10)
