"""A stand-in for an OpenAI-compatible server in the test's own event loop, on real sockets, with known latencies."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

Handle: TypeAlias = "Callable[[StandinExchange], Awaitable[None]]"


class StandinExchange:
    """One request that came, and what answers it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], raw: bytes, writer: asyncio.StreamWriter):
        self.method = method
        self.path = path
        self.headers = headers
        self.raw = raw
        self._writer = writer

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw))

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
        """A whole response: JSON, or text as it is."""
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} Status", "Content-Type: application/json", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.write("\r\n".join([*lines, "", ""]).encode() + data)

    async def begin_stream(self, chunked: bool = True) -> None:
        coding = "Transfer-Encoding: chunked" if chunked else "Connection: close"
        await self.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, content: Any) -> None:
        await self.chunk(event_bytes(content))

    async def end_stream(self) -> None:
        await self.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self._writer.close()


def event_bytes(content: Any, ending: bytes = b"\n\n") -> bytes:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return b"data: " + text.encode() + ending


def delta(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


class StandinChat:
    """A server for the length of an `async with` block.

    Args:
        handle: answers requests; `paced` by default.

    Attributes:
        requests: those that came, in their order.
        at_once: the largest number of requests that were under way together.
        connections: how many were made.
    """

    def __init__(self, handle: Handle | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.handle = handle or paced()
        self.requests: list[StandinExchange] = []
        self.under_way = 0
        self.at_once = 0
        self.connections = 0
        self.by_path: Counter[str] = Counter()
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> StandinChat:
        self._server = await asyncio.start_server(self.accept, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.port = port
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop_connections()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def drop_connections(self) -> None:
        for writer in self._writers:
            writer.close()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until it or the block ends."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                exchange = StandinExchange(method, path, headers, raw, writer)
                self.requests.append(exchange)
                self.by_path[path] += 1
                self.under_way += 1
                self.at_once = max(self.at_once, self.under_way)
                try:
                    await self.handle(exchange)
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            with suppress(ConnectionError):
                writer.close()


def paced(
    first_s: float = 0, token_s: float = 0, tokens: int | None = None, models: tuple[str, ...] = ("standin",)
) -> Handle:
    """Answers like a server of OpenAI's API with known latencies.

    Args:
        first_s: seconds from the request to the first token.
        token_s: seconds between two tokens, on an absolute schedule.
        tokens: of every answer; by default as many as the request's `max_tokens`.
    """

    async def handle(exchange: StandinExchange) -> None:
        loop = asyncio.get_running_loop()
        if exchange.method == "GET":
            if exchange.path.endswith("/models"):
                await exchange.reply(200, {"object": "list", "data": [{"id": model} for model in models]})
            else:
                await exchange.reply(404, {"error": {"message": "no such route"}})
            return
        body = exchange.body
        count = tokens or int(body.get("max_tokens") or body.get("max_completion_tokens") or 16)
        words = json.dumps(body.get("messages") or body.get("prompt") or "").count(" ") + 1
        began = loop.time()
        if not body.get("stream"):
            await asyncio.sleep(first_s + token_s * (count - 1))
            message = {"role": "assistant", "content": " word" * count}
            choice = {"index": 0, "message": message, "text": " word" * count, "finish_reason": "length"}
            await exchange.reply(200, {"choices": [choice], "usage": usage(words, count)["usage"]})
            return
        await exchange.begin_stream()
        for number in range(count):
            wait = began + first_s + number * token_s - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            await exchange.event(delta(" word", "length" if number == count - 1 else None))
        if (body.get("stream_options") or {}).get("include_usage"):
            await exchange.event(usage(words, count))
        await exchange.event("[DONE]")
        await exchange.end_stream()

    return handle
