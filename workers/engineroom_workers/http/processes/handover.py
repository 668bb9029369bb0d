"""The main process's side of a stream that a door process fetches from the engine's server by itself."""

from __future__ import annotations

import asyncio
import itertools
import logging
from weakref import WeakKeyDictionary

from engineroom.asgi import PIECES, ClientDisconnected, Receive, Scope, Send
from engineroom.engine import Engine
from engineroom.openai.body import checked_request
from engineroom.openai.usage import requested_usage
from engineroom.timeouts import timeout

from ..middleware.context import get_context
from .api_errors import as_error
from .frames import (
    EngineError,
    Frame,
    FrameConnection,
    Go,
    SharedEngine,
    StopStream,
    StreamEnded,
    StreamLeave,
    StreamProgress,
    StreamStarted,
    StreamStopped,
    UnknownEngine,
    WholeAnswer,
)

logger = logging.getLogger(__name__)

_UNCACHED = ("", "bypass")
"""What the cache has noted of a request whose answer it does not want to see."""
_STOP_S = 5


class SharedEngines:
    """The engines that door processes may ask by themselves, each with a number; those that died go with them."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._shared: WeakKeyDictionary[Engine, SharedEngine | None] = WeakKeyDictionary()

    def get(self, engine: Engine) -> SharedEngine | None:
        """What door processes need to ask the engine, which is ready; None where only this process can."""
        if engine not in self._shared:
            description = engine.share()
            self._shared[engine] = None if description is None else SharedEngine(next(self._numbers), description)
        return self._shared[engine]


class StreamHandover:
    """Lets the door process that has a request's client fetch the answer from the engine's server.

    Args:
        path: the route that the client asked for. What the core makes of another route is not handed over.
    """

    def __init__(self, connection: FrameConnection, engines: SharedEngines, path: str) -> None:
        self._connection = connection
        self._engines = engines
        self._path = path
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()

    def take(self, frame: Frame) -> None:
        """Take a frame about the engine's answer."""
        self._frames.put_nowait(frame)

    def leave(self) -> None:
        """No more frames come."""
        self._frames.put_nowait(None)

    def suits(self, scope: Scope, engine: Engine) -> bool:
        """Whether a request is handed over: an event stream that the client asked for as it is, and the cache does not
        want to see, of an engine whose server others can ask."""
        json = checked_request(scope).json
        if scope["path"] != self._path or json is None or json.get("stream") is not True:
            return False
        if get_context(scope).cache not in _UNCACHED:
            return False
        return self._engines.get(engine) is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send, engine: Engine) -> None:
        """Serve a request that `suits`.

        Raises:
            APIError: the engine's own error, or that it is gone.
            ClientDisconnected: the client, or the door process, left first.
        """
        shared = self._engines.get(engine)
        assert shared is not None
        request = checked_request(scope)
        usage = requested_usage(scope)
        go = Go(
            shared.number,
            scope["method"],
            scope["path"],
            scope["query_string"],
            list(scope["headers"]),
            request.body,
            usage is not None,
        )
        self._connection.write(go)
        over = False
        try:
            while not over:
                frame = await self._frames.get()
                if frame is None:
                    over = True
                    raise ClientDisconnected
                if isinstance(frame, (StreamProgress, WholeAnswer)) and usage is not None:
                    usage.prompt_tokens = frame.prompt_tokens
                    usage.completion_tokens = frame.completion_tokens
                if isinstance(frame, UnknownEngine):
                    self._connection.write(shared)
                    self._connection.write(go)
                elif isinstance(frame, StreamStarted):
                    await send({"type": "http.response.start", "status": frame.status, "headers": frame.headers})
                    self._connection.write(StreamLeave())
                elif isinstance(frame, StreamProgress):
                    await send({"type": "http.response.body", "body": b"", "more_body": True, PIECES: frame.pieces})
                elif isinstance(frame, StreamEnded):
                    over = True
                    await send({"type": "http.response.body", "body": b""})
                elif isinstance(frame, WholeAnswer):
                    over = True
                    await send({"type": "http.response.start", "status": frame.status, "headers": frame.headers})
                    await send({"type": "http.response.body", "body": frame.body})
                elif isinstance(frame, EngineError):
                    over = True
                    raise as_error(frame.error)
        finally:
            if not over:
                await self._stop()

    async def _stop(self) -> None:
        """Have the door process end what it has asked, so that nothing of it follows what is sent next."""
        self._connection.write(StopStream())
        try:
            async with timeout(_STOP_S):
                frame = await self._frames.get()
                while frame is not None and not isinstance(frame, StreamStopped):
                    frame = await self._frames.get()
        except asyncio.TimeoutError:
            logger.error("a door process did not end a stream within %d s; its connection is closed", _STOP_S)
            self._connection.close()
