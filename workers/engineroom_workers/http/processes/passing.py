"""A door process's side: each request is passed to the main process, and what comes back to the client."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from pathlib import Path

import msgspec

from engineroom.asgi import RESERVATION, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from .api_errors import fields_of
from .frames import (
    Admitted,
    BodyWanted,
    ClientLeft,
    ConnectionEnded,
    Frame,
    FrameConnection,
    FromMain,
    Go,
    RequestBody,
    RequestBodyError,
    RequestHead,
    RequestOver,
    ResponseBody,
    ResponseStart,
    SharedEngine,
    StopStream,
    StreamLeave,
    StreamStopped,
)
from .streaming import EngineStream, JoinedEngines

_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(FromMain)
_CONNECT_TRIES = 500
_CONNECT_PAUSE_S = 0.01
_MAX_IDLE = 32
"""Connections to the main process that are kept for the next requests."""


class PassingApp:
    """The app of a door process.

    Args:
        path: the main process's socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[FrameConnection] = deque()
        self._engines = JoinedEngines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            connection = await self._connect()
        except OSError:
            error = APIError("The server is shutting down.", status=503, code="shutting_down", retry_after=1)
            await error_response(send, scope, error)
            return
        request = _PassingRequest(connection, self._engines, scope, receive, send)
        try:
            await request.serve()
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    async def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop().close()
        await self._engines.close()

    async def _connect(self) -> FrameConnection:
        if self._idle:
            return self._idle.pop()
        for _ in range(_CONNECT_TRIES):
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except BlockingIOError:
                # A Unix socket does not wait: so many connect at once that its queue is full.
                await asyncio.sleep(_CONNECT_PAUSE_S)
            else:
                return FrameConnection(reader, writer, _DECODER)
        raise ConnectionRefusedError("the main process takes no connections")


class MainProcessEnded(Exception):
    """The main process ended amid a request."""


class _PassingRequest:
    """One request on its way to the main process, and its response on the way back."""

    def __init__(
        self, connection: FrameConnection, engines: JoinedEngines, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._connection = connection
        self._engines = engines
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False
        self._client: asyncio.Future[None] | None = None
        self._stream: EngineStream | None = None

    async def serve(self) -> None:
        """Serve it to its end.

        Raises:
            MainProcessEnded: the response has begun, and cannot be completed.
        """
        self._connection.write(_head_of(self._scope))
        over = False
        try:
            while not over:
                frame = await self._connection.read()
                if isinstance(frame, RequestOver):
                    over = True
                    if frame.broken:
                        raise MainProcessEnded("the response cannot be completed")
                else:
                    await self._take(frame)
        except ConnectionEnded:
            if self._started:
                raise MainProcessEnded("the main process is gone") from None
            error = APIError("The server has ended.", status=503, code="shutting_down", retry_after=1)
            await error_response(self._send, self._scope, error)
            raise MainProcessEnded("the main process is gone") from None
        finally:
            await self._end()

    async def _take(self, frame: Frame) -> None:
        if isinstance(frame, ResponseBody):
            if self._stream is None or self._stream.may_interject(frame.part):
                await self._send({"type": "http.response.body", "body": frame.part, "more_body": frame.more})
        elif isinstance(frame, ResponseStart):
            self._started = True
            await self._send({"type": "http.response.start", "status": frame.status, "headers": frame.headers})
        elif isinstance(frame, BodyWanted):
            self._client = asyncio.ensure_future(self._pass_body())
        elif isinstance(frame, Admitted):
            self._scope[RESERVATION].release()
        elif isinstance(frame, SharedEngine):
            await self._engines.join(frame)
        elif isinstance(frame, Go):
            self._stream = EngineStream(frame, self._engines, self._connection, self._send)
            self._stream.start()
        elif isinstance(frame, StreamLeave) and self._stream is not None:
            self._stream.leave_given.set()
        elif isinstance(frame, StopStream):
            await self._stop_stream()
            self._connection.write(StreamStopped())

    async def _pass_body(self) -> None:
        """Pass the body on as it comes, and then that the client has left."""
        more = True
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    break
                if more:
                    more = message.get("more_body", False)
                    self._connection.write(RequestBody(message.get("body", b""), more))
                    await self._connection.drain()
        except APIError as error:
            self._connection.write(RequestBodyError(fields_of(error)))
            return
        # What the engine's server generates costs nothing more from now on.
        if self._stream is not None:
            self._stream.cancel()
        self._connection.write(ClientLeft())

    async def _stop_stream(self) -> None:
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None

    async def _end(self) -> None:
        await self._stop_stream()
        if self._client is not None:
            self._client.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._client


def _head_of(scope: Scope) -> RequestHead:
    client = scope.get("client")
    server = scope.get("server")
    return RequestHead(
        scope["method"],
        scope["path"],
        scope.get("raw_path") or b"",
        scope["query_string"],
        list(scope["headers"]),
        scope["http_version"],
        scope["scheme"],
        None if client is None else (client[0], client[1]),
        None if server is None else (server[0], server[1]),
    )
