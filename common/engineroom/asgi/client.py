"""Calling an ASGI app in this process, its answer streamed with back-pressure.

httpx' own ASGI transport collects a whole answer before it hands it on, which is of no use for tokens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from .types import ASGIApp, Message, Scope

_BYTES_AHEAD = 256 * 1024
"""How much of a body the app may be ahead of its reader before its `send` waits."""


class Response:
    """The answer of an app: status and headers at once, the body as it is produced.

    Iterate it for chunks of bytes as the app sent them, `read()` the whole, or `wait()` and `drain()` for all that
    has come meanwhile.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        """Whether the app has sent all; some of it may still be here to be read."""
        self._started = asyncio.Event()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._error: BaseException | None = None

    async def wait(self) -> bool:
        """Wait until there is something to `drain`; False once the body is over."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.ended:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def drain(self) -> list[bytes]:
        """The chunks that are here already, without waiting; for readers that batch."""
        chunks = list(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._room.set()
        return chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while await self.wait():
            chunk = self._chunks.popleft()
            self._size -= len(chunk)
            self._room.set()
            yield chunk

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self])

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in message.get("headers", ())}
            self._started.set()
            return
        if body := message.get("body", b""):
            self._chunks.append(bytes(body))
            self._size += len(body)
        if not message.get("more_body"):
            self.ended = True
        self._changed.set()
        while self._size > _BYTES_AHEAD and not self.ended:
            self._room.clear()
            await self._room.wait()

    async def _run(self, app: ASGIApp, scope: Scope, body: bytes, disconnect: asyncio.Event) -> None:
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await disconnect.wait()
            return {"type": "http.disconnect"}

        try:
            await app(scope, receive, self._send)
        except Exception as error:
            self._error = error
        finally:
            self.ended = True
            self._started.set()
            self._changed.set()


@asynccontextmanager
async def request(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> AsyncIterator[Response]:
    """Call `app` and give its response, once it has started.

    Leaving the block early disconnects, which aborts a generation. `path` may carry a query.

    Raises:
        Exception: whatever the app raises, from here before its response started, else from reading.
    """
    path, _, query = path.partition("?")
    raw = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in raw.items()],
        "client": None,
        "server": None,
        "state": {},
    }
    response, disconnect = Response(), asyncio.Event()
    task = asyncio.ensure_future(response._run(app, scope, body, disconnect))
    try:
        await response._started.wait()
        if response.status == 0:
            raise response._error or RuntimeError("the app ended without a response")
        yield response
    finally:
        disconnect.set()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
