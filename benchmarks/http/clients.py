"""`make bench-clients`: what it costs to read an engine's streams, by client. Writes clients.md.

Each client is a process of its own that does nothing but read N streams of a raw source at 50 tokens/s, over loopback
TCP, on uvloop; its CPU counts, threads included. Rounds are interleaved. The clients that are not ours to install come
from PyPI into .build/http-clients.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".build/http-clients"
REQUIREMENTS = ("pyreqwest==0.15.1", "aiosonic==1.3.3")
PATH = "/v1/chat/completions"
TYPE = "application/json"
STREAMS = (1, 16, 200)
TOKENS = 100

Reader = Callable[[bytes], Awaitable[None]]

WHAT = {
    "ours, relayed": "`engineroom.http_client`, each piece to a function at the moment of its arrival",
    "ours, awaited": "the same, each piece awaited by a task",
    "aiohttp": "its client, `iter_any`: what the door had before",
    "uvloop streams": "`asyncio.open_connection` and httptools, the least that awaits each piece",
    "aiosonic": "in Python, over asyncio's streams; MIT",
    "pyreqwest": "Rust's reqwest on threads of its own; Python 3.11 on; no Unix sockets",
}


async def aiohttp_reader(port: int) -> Reader:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    url = f"http://127.0.0.1:{port}{PATH}"

    async def read(body: bytes) -> None:
        async with session.post(url, data=body, headers={"content-type": TYPE}) as response:
            async for piece in response.content.iter_any():
                count(piece)

    return read


async def relaying_reader(port: int) -> Reader:
    from engineroom.http_client import ConnectionPool, Origin

    pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=60)

    async def read(body: bytes) -> None:
        async with await pool.request("POST", PATH, {b"content-type": TYPE.encode()}, body) as response:
            await response.relay(lambda piece, last: count(piece))

    return read


async def awaiting_reader(port: int) -> Reader:
    from engineroom.http_client import ConnectionPool, Origin

    pool = ConnectionPool(Origin("127.0.0.1", port), {}, keep_alive=60)

    async def read(body: bytes) -> None:
        async with await pool.request("POST", PATH, {b"content-type": TYPE.encode()}, body) as response:
            while piece := await response.read_available():
                count(piece)

    return read


async def streams_reader(port: int) -> Reader:
    import httptools

    async def read(body: bytes) -> None:
        class BareMessage:
            complete = False

            def on_body(self, piece: bytes) -> None:
                count(piece)

            def on_message_complete(self) -> None:
                self.complete = True

        message = BareMessage()
        parser = httptools.HttpResponseParser(message)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body))
        while not message.complete:
            parser.feed_data(await reader.read(65536))
        writer.close()

    return read


async def aiosonic_reader(port: int) -> Reader:
    import aiosonic
    from aiosonic.connectors import TCPConnector
    from aiosonic.pools import PoolConfig

    connector = TCPConnector(pool_configs={":default": PoolConfig(size=256)})
    client = aiosonic.HTTPClient(connector)
    url = f"http://127.0.0.1:{port}{PATH}"

    async def read(body: bytes) -> None:
        response = await client.post(url, data=body, headers={"content-type": TYPE})
        async for piece in response.read_chunks():
            count(piece)

    return read


async def pyreqwest_reader(port: int) -> Reader:
    from pyreqwest.client import ClientBuilder

    client = ClientBuilder().build()
    url = f"http://127.0.0.1:{port}{PATH}"

    async def read(body: bytes) -> None:
        request = client.post(url).header("content-type", TYPE).body_bytes(body).build_streamed()
        async with request as response:
            while piece := await response.body_reader.read_chunk():
                count(bytes(piece))

    return read


READERS: dict[str, Callable[[int], Awaitable[Reader]]] = {
    "ours, relayed": relaying_reader,
    "ours, awaited": awaiting_reader,
    "aiohttp": aiohttp_reader,
    "uvloop streams": streams_reader,
    "aiosonic": aiosonic_reader,
    "pyreqwest": pyreqwest_reader,
}
events = 0


def count(piece: bytes) -> None:
    global events
    events += piece.count(b"data: {")


async def client(name: str, port: int, streams: int) -> None:
    """One round, in a process of its own: prints CPU µs a token, after a short round to warm up."""
    global events
    read = await READERS[name](port)
    body = {"model": "source", "messages": [], "max_tokens": 5, "rate": 50}
    await asyncio.gather(*(read(json.dumps(body).encode()) for _ in range(streams)))
    events = 0
    before = time.process_time()
    body["max_tokens"] = TOKENS
    await asyncio.gather(*(read(json.dumps(body).encode()) for _ in range(streams)))
    spent = time.process_time() - before
    assert events == streams * TOKENS, f"{events} of {streams * TOKENS} tokens"
    print(1e6 * spent / events, flush=True)


def cost(name: str, port: int, streams: int) -> float | str:
    """CPU µs a token; why there is none, as text."""
    command = [sys.executable, __file__, "--client", name, "--port", str(port), "--streams", str(streams)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return float(ended.stdout) if ended.returncode == 0 else ended.stderr.strip().splitlines()[-1]


def page(costs: dict[tuple[str, int], list[float | str]], rounds: int, where: str) -> str:
    lines = [
        "# What it costs to read an engine's streams, by client",
        "",
        f"`make bench-clients`: CPU µs a token of a process that only reads, {rounds} rounds,",
        f"interleaved, medians (lowest to highest); the source is on the same {where}.",
        "The rest of what a token costs a door comes on top.",
        "",
        f"| client | {' | '.join(f'{n} streams' for n in STREAMS)} | what it is |",
        f"|---|{'---:|' * len(STREAMS)}---|",
    ]
    for name, what in WHAT.items():
        cells = []
        for n in STREAMS:
            values = [value for value in costs[name, n] if isinstance(value, float)]
            failures = [value for value in costs[name, n] if isinstance(value, str)]
            median = f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})" if values else ""
            cells.append(median or f"failed: {failures[0]}")
        lines.append(f"| {name} | {' | '.join(cells)} | {what} |")
    lines += [
        "",
        "What decides is not how the bytes are parsed, but how often the loop turns for a piece: one that a task",
        "awaits costs a future, a wake-up and another turn of the loop, one from another thread a call across it",
        "besides. So the client is ours, small, over httptools: a piece goes to the response's sink within the",
        "callback that brings it. An engine's Unix socket, the end of its work and its back-pressure are a",
        "transport's own methods.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    from processes import free_port, machine, running, until

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", choices=READERS)
    parser.add_argument("--port", type=int)
    parser.add_argument("--streams", type=int)
    options: Any = parser.parse_args()
    sys.path.append(str(INSTALLED))
    if options.client:
        import uvloop

        uvloop.run(client(options.client, options.port, options.streams))
        return
    if not INSTALLED.exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(INSTALLED), *REQUIREMENTS]
        subprocess.run(install, check=True)
    port = free_port()
    costs: dict[tuple[str, int], list[float | str]] = {(name, n): [] for name in READERS for n in STREAMS}
    with running([sys.executable, str(HERE / "source.py"), str(port)]):
        until(f"http://127.0.0.1:{port}/health")
        for number in range(options.rounds):
            for name, n in costs:
                costs[name, n].append(cost(name, port, n))
                print(f"round {number + 1}, {name}, {n} streams: {costs[name, n][-1]}", flush=True)
    (HERE / "clients.md").write_text(page(costs, options.rounds, machine()), encoding="utf-8")


if __name__ == "__main__":
    main()
