"""An engine that is started again when it dies: a new one in its place, a bounded number of times."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engineroom.asgi import disconnected
from engineroom.engine import Health, RunningEngine
from engineroom.errors import APIError, EngineroomError
from engineroom.openai.errors import error_response

from .context import get_context

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send
    from engineroom.engine import Engine, Route
    from engineroom.timeline import Timeline

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 60
_RETRY_S = 5
_GOOD_S = 600
"""After so long a life a death counts as the first."""


class RestartingEngine(RunningEngine):
    """One engine after another, seen as one by the door.

    An engine is started once, as its contract says; what is started again is a new one. Meanwhile the door is live
    and not ready. A request that a death caught before any of its answer was sent is asked once more of the next
    engine.

    Args:
        first: the engine to begin with, configured.
        make: gives another.
        restarts: how many deaths and failed starts in a row are made good.
        patience: seconds a request that was caught waits for the next engine.
    """

    def __init__(self, first: Engine, make: Callable[[], Engine], restarts: int, patience: float) -> None:
        self._first = self._engine = first
        self._make = make
        self._allowed = self._left = restarts
        self._patience = patience
        self._stopped = False
        self._why = ""
        self._up = False
        self._died_at = 0.0
        self._successor: asyncio.Future[bool] | None = None
        self._watching: asyncio.Task[str] | None = None
        self.app: ASGIApp = self._serve
        self.restarted = 0

    @property
    def name(self) -> str:
        return self._first.name

    @functools.cached_property
    def timeline(self) -> Timeline:
        return self._first.timeline

    @property
    def models(self) -> tuple[str, ...]:
        return self._engine.models

    @property
    def routes(self) -> frozenset[Route]:
        return self._engine.routes

    def knows_model(self, name: str) -> bool:
        return self._engine.knows_model(name)

    async def metrics(self) -> str:
        return await self._engine.metrics()

    def health(self) -> Health:
        health = self._engine.health()
        if not self._restarting:
            return health
        return Health(live=True, ready=False, reason=f"restarting: {self._why or health.reason}")

    @property
    def _restarting(self) -> bool:
        """Whether the engine is gone, and another may come."""
        if self._watching is None or self._stopped or self._watching.done():
            return False
        return not (self._up and self._engine.health().ready)

    async def start(self) -> None:
        await self._engine.start()
        self._came_up()
        self._watching = asyncio.ensure_future(self._watch())

    async def stop(self) -> None:
        self._stopped = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._engine.stop()

    async def died(self) -> str:
        """Wait until no restart is left; why the last engine went."""
        assert self._watching is not None, "start comes first"
        return await asyncio.shield(self._watching)

    async def _watch(self) -> str:
        while True:
            since = time.monotonic()
            self._why = await self._engine.died()
            self._died_at = time.perf_counter()
            self._up = False
            if time.monotonic() - since >= _GOOD_S:
                self._left = self._allowed
            await self._engine.stop()
            if not await self._again():
                return self._why

    async def _again(self) -> bool:
        """Bring a new engine up; False where no restart is left."""
        while self._left:
            pause = min(2.0 ** (self._allowed - self._left), _LONGEST_PAUSE_S)
            self._left -= 1
            logger.error("the engine is gone: %s; starting another in %g s (%d left)", self._why, pause, self._left)
            await asyncio.sleep(pause)
            try:
                self._engine = self._make()
                await self._engine.start()
            except EngineroomError as error:
                self._why = str(error)
                await self._engine.stop()
                continue
            self.restarted += 1
            self._why = ""
            self._came_up()
            logger.info("the engine is back")
            return True
        return False

    def _came_up(self) -> None:
        self._up = True
        before, self._successor = self._successor, asyncio.get_running_loop().create_future()
        if before is not None:
            before.set_result(True)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._restarting and self._successor is not None and self._came_before(scope):
            await self._came(self._successor, receive)
        engine, successor = self._engine, self._successor
        if self._restarting:
            error = APIError(
                f"The engine is being started again: {self._why or 'it has just ended'}.",
                status=503,
                code="engine_loading",
                retry_after=_RETRY_S,
            )
            await error_response(send, scope, error)
            return
        if successor is None or not engine.health().ready:
            await engine.app(scope, receive, send)
            return
        held = _Held(engine, send)
        await engine.app(scope, receive, held.send)
        if not held.messages:
            return
        if await self._came(successor, receive):
            logger.info(
                "%s %s goes to the new engine: the old one died before it answered", scope["method"], scope["path"]
            )
            await self._engine.app(scope, receive, send)
            return
        for message in held.messages:
            await send(message)

    def _came_before(self, scope: Scope) -> bool:
        """Whether a request was here when the engine died: its turn came since, and it waits as those that had it."""
        return self._up or get_context(scope).started < self._died_at

    async def _came(self, successor: asyncio.Future[bool], receive: Receive) -> bool:
        """Whether the next engine came in time, and the client has stayed."""
        assert self._watching is not None
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            waited_for: set[asyncio.Future[Any]] = {successor, gone, self._watching}
            await asyncio.wait(waited_for, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            return successor.done() and not gone.done()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


class _Held:
    """Keeps back the error that a dead engine answers with, as long as nothing else was sent."""

    def __init__(self, engine: Engine, send: Send) -> None:
        self._engine = engine
        self._send = send
        self.send: Send = self._hold
        self.messages: list[Message] = []

    async def _hold(self, message: Message) -> None:
        failed = message["type"] == "http.response.start" and message["status"] >= 500
        if self.messages or (failed and not self._engine.health().live):
            self.messages.append(message)
            return
        await self._send(message)
