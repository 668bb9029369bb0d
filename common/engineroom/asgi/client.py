"""A client for ASGI apps in this process, which streams a response with back-pressure.

httpx' own ASGI transport collects a whole response before it hands it on, which is of no use for tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import msgspec

from .stream import StreamBuffer
from .types import ASGIApp, Message, Scope

_BYTES_AHEAD = 256 * 1024
"""How much of a body the app may be ahead of its reader before its `send` waits."""

DECODABLE_BODY = "engineroom.decodable_body"
"""Where a scope carries the `DecodableBody` of a caller in this process; a request over a socket has none."""


class Response:
    """The response of an app: status and headers at once, the body as it is produced.

    Iterate it for chunks of bytes as the app sent them, `read()` the whole, or `wait()` and `drain()` for all that
    is here already.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._started = asyncio.Event()
        self._body: StreamBuffer[bytes] = StreamBuffer(_BYTES_AHEAD, size=len)

    @property
    def ended(self) -> bool:
        """Whether the app has sent all; some of it may still be here to be read."""
        return self._body.ended

    async def wait(self) -> bool:
        """Wait until there is something to `drain`; False once the body is over. Raises what the app raised."""
        return await self._body.wait()

    def drain(self) -> list[bytes]:
        """The chunks that are here already, without waiting; for readers that batch."""
        return self._body.drain()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while await self._body.wait():
            yield self._body.pop()

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self])

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in message.get("headers", ())}
            self._started.set()
            return
        body = message.get("body", b"")
        full = self._body.put((bytes(body),)) if body else False
        if not message.get("more_body"):
            self._body.close()
        elif full:
            await self._body.space()

    async def _run(self, app: ASGIApp, scope: Scope, body: DecodableBody) -> None:
        try:
            await app(scope, body.receive, self._send)
        except Exception as error:
            self._body.close(error)
        except asyncio.CancelledError:
            # We cancelled it, then nobody reads any more; or the app did, and silence would pass for its end.
            self._body.close(RuntimeError("The app cancelled its own response."))
            raise
        finally:
            self._body.close()
            self._started.set()


class DecodableBody:
    """A request's body on its way to the app: as bytes, or decoded for an app that takes it so.

    Args:
        encoded: the bytes; not needed where there is a decoded body.
        decoded: a JSON object. It is encoded only for an app that receives bytes.
    """

    def __init__(self, encoded: bytes, decoded: dict[str, Any] | None) -> None:
        self._encoded = encoded
        self._decoded = decoded
        self._taken = False
        self.disconnect = asyncio.Event()

    def take(self) -> dict[str, Any] | None:
        """The decoded body, which `receive` gives no more; None where there is none, or it has been received.

        Its values are shared with the caller.
        """
        if self._taken or self._decoded is None:
            return None
        self._taken = True
        # The app may change its fields; the caller's object stays as it is.
        return dict(self._decoded)

    async def receive(self) -> Message:
        if self._taken:
            await self.disconnect.wait()
            return {"type": "http.disconnect"}
        self._taken = True
        body = self._encoded if self._decoded is None else msgspec.json.encode(self._decoded)
        return {"type": "http.request", "body": body, "more_body": False}


@asynccontextmanager
async def request(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    json: dict[str, Any] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> AsyncIterator[Response]:
    """Call `app` and give its response, once it has started.

    Leaving the block early disconnects, which aborts a generation.

    Args:
        path: may carry a query.
        body: the request's body.
        json: a JSON object to send instead of `body`. It stays decoded for an app that takes it so.
        extensions: what else the scope carries.

    Raises:
        Exception: whatever the app raises, from here before its response started, else from reading.
    """
    path, _, query = path.partition("?")
    raw = {"content-type": "application/json"}
    if json is None:
        raw["content-length"] = str(len(body))
    raw |= headers or {}
    request_body = DecodableBody(body, json)
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
        DECODABLE_BODY: request_body,
        **(extensions or {}),
    }
    response = Response()
    task = asyncio.ensure_future(response._run(app, scope, request_body))
    try:
        await response._started.wait()
        if response.status == 0:
            raise response._body.error or RuntimeError("the app ended without a response")
        yield response
    finally:
        request_body.disconnect.set()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
