"""The main process's side: requests that door processes pass on, served by the layers and the engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable

import msgspec

from engineroom.asgi import HANDOVER, RESERVATION, ASGIApp, Message, Scope

from .api_errors import as_error
from .frames import (
    Admitted,
    BodyWanted,
    ClientLeft,
    ConnectionEnded,
    Frame,
    FrameConnection,
    FromDoor,
    RequestBody,
    RequestBodyError,
    RequestHead,
    RequestOver,
    ResponseBody,
    ResponseStart,
)
from .handover import SharedEngines, StreamHandover

logger = logging.getLogger(__name__)

_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(FromDoor)


class PassedRequests:
    """Serves the requests that door processes pass on.

    Args:
        app: the outermost layer.

    running: the tasks of the requests that run.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._engines = SharedEngines()
        self.running: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection, one after the other, until the door process closes it."""
        connection = FrameConnection(reader, writer, _DECODER)
        request: PassedRequest | None = None
        try:
            while True:
                frame = await connection.read()
                if isinstance(frame, RequestHead):
                    request = PassedRequest(frame, connection, self._engines)
                    serving = asyncio.ensure_future(request.serve(self._app))
                    self.running.add(serving)
                    serving.add_done_callback(self.running.discard)
                elif request is not None:
                    request.take(frame)
        except ConnectionEnded:
            pass
        finally:
            if request is not None:
                request.leave()
            connection.close()


class PassedRequest:
    """One request that a door process has passed on: what the layers see as its scope, `receive` and `send`."""

    def __init__(self, head: RequestHead, connection: FrameConnection, engines: SharedEngines) -> None:
        self._connection = connection
        self._messages: asyncio.Queue[RequestBody | RequestBodyError] = asyncio.Queue()
        self._left = asyncio.Event()
        self._body_asked = False
        self._body_read = False
        self._handover = StreamHandover(connection, engines, head.path)
        self._scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.http_version,
            "method": head.method,
            "scheme": head.scheme,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "root_path": "",
            "headers": head.headers,
            "client": head.client,
            "server": head.server,
            RESERVATION: _PassedReservation(connection),
            HANDOVER: self._handover,
        }

    def take(self, frame: Frame) -> None:
        """Take the next frame from the door process."""
        if isinstance(frame, (RequestBody, RequestBodyError)):
            self._messages.put_nowait(frame)
        elif isinstance(frame, ClientLeft):
            self.leave()
        else:
            self._handover.take(frame)

    def leave(self) -> None:
        """The client has left, or the door process has ended."""
        self._left.set()
        self._handover.leave()

    async def serve(self, app: ASGIApp) -> None:
        """Serve it, and tell the door process when it is over."""
        broken = False
        try:
            await app(self._scope, self._receive, self._send)
        except Exception:
            broken = True
            logger.exception("%s %s failed", self._scope["method"], self._scope["path"])
        self._connection.write(RequestOver(broken))
        await self._connection.drain()

    async def _receive(self) -> Message:
        if not self._body_asked:
            self._body_asked = True
            self._connection.write(BodyWanted())
        if self._body_read:
            await self._left.wait()
        frame = await self._next_body()
        if frame is None:
            return {"type": "http.disconnect"}
        if isinstance(frame, RequestBodyError):
            raise as_error(frame.error)
        self._body_read = not frame.more
        return {"type": "http.request", "body": frame.part, "more_body": frame.more}

    async def _next_body(self) -> RequestBody | RequestBodyError | None:
        """What comes next of the body; None where the client leaves before."""
        if self._left.is_set():
            return None
        getting = asyncio.ensure_future(self._messages.get())
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({getting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            for waiting in (getting, leaving):
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting

    def _send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._connection.write(ResponseStart(message["status"], list(message.get("headers", ()))))
        else:
            body = message.get("body", b"")
            more = message.get("more_body", False)
            # What the door process streams by itself goes through the layers as messages without a body.
            if body or not more:
                self._connection.write(ResponseBody(body, more))
        return self._connection.drain()


class _PassedReservation:
    """What a request holds, in its door process, of the memory for those that wait."""

    def __init__(self, connection: FrameConnection) -> None:
        self._connection: FrameConnection | None = connection

    def release(self) -> None:
        """Give all of it back; it may be called again."""
        if self._connection is not None:
            self._connection.write(Admitted())
            self._connection = None
