"""An engine that is started again when it dies: a new one in its place, a bounded number of times."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engineroom.asgi import ClientDisconnected, HeldResponse, race
from engineroom.engine import Health, Metric, RunningEngine, exposition
from engineroom.errors import APIError, EngineroomError
from engineroom.openai.errors import error_response

from .middleware.context import get_context

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp, Receive, Scope, Send
    from engineroom.engine import Capabilities, Route
    from engineroom.pool_load import Scrape
    from engineroom.timeline import Timeline

logger = logging.getLogger(__name__)

_MAX_PAUSE_S = 60
_RETRY_AFTER_S = 5
_STABLE_S = 600
"""After so long a life a death counts as the first."""


class RestartingEngine(RunningEngine):
    """One engine after another, seen as one by the door.

    An engine is started once, as its contract says; what replaces a dead one is a new one, its successor. Until that
    is ready the door is live and not ready. What becomes of the requests:

    * A request that the engine's death caught before any of its response was sent goes to the successor, once.
    * A request that was already at the door, waiting for its turn, when the engine died waits for the successor too.
    * A request that arrives after the death gets a 503 with `Retry-After`.
    * A response that has begun cannot begin again: its client sees the dead engine's error.

    Args:
        first: the engine to begin with, configured.
        make: gives another.
        restarts: how many deaths and failed starts in a row are made good.
        patience: seconds that a request waits for the successor.

    restarted: how many engines have been started in place of dead ones.
    """

    def __init__(self, first: RunningEngine, make: Callable[[], RunningEngine], restarts: int, patience: float) -> None:
        self._first = first
        self._engine = first
        self._make = make
        self._restarts = restarts
        self._restarts_left = restarts
        self._patience = patience
        self._stopped = False
        self._reason = ""
        """Why the last engine died; empty while one runs."""
        self._started = False
        """Whether the current engine has started and not yet died."""
        self._died_at = 0.0
        self._successor: asyncio.Future[None] | None = None
        """Done when the engine after the current one has started; None before the first one has."""
        self._supervisor: asyncio.Task[str] | None = None
        self._earlier_hangs = 0
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

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    def knows_model(self, name: str) -> bool:
        return self._engine.knows_model(name)

    async def find_model(self, name: str) -> bool:
        return await self._engine.find_model(name)

    async def adapters(self) -> tuple[str, ...]:
        return await self._engine.adapters()

    @property
    def hangs(self) -> int:
        return self._earlier_hangs + self._engine.hangs

    async def metrics(self) -> str:
        """The engine's own, and how often it was replaced."""
        return exposition([self._restarts_metric()]) + await self._engine.metrics()

    async def scrape(self) -> Scrape:
        scrape = await self._engine.scrape()
        return scrape._replace(text=exposition([self._restarts_metric()]) + scrape.text)

    def _restarts_metric(self) -> Metric:
        about = "Engines started to replace one that died."
        return Metric("engineroom_engine_restarts", "gauge", about, {"": self.restarted})

    def health(self) -> Health:
        health = self._engine.health()
        if not self._restarting:
            return health
        return Health(live=True, ready=False, reason=f"restarting: {self._reason or health.reason}")

    @property
    def _restarting(self) -> bool:
        """Whether the engine is gone, and a successor may come."""
        if self._supervisor is None or self._stopped or self._supervisor.done():
            return False
        # An engine that has just died may say so before `died` returns. One that does not respond may do so again.
        return not (self._started and self._engine.health().live)

    async def start(self) -> None:
        await self._engine.start()
        self._on_started()
        self._supervisor = asyncio.ensure_future(self._supervise())

    async def stop(self) -> None:
        self._stopped = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._engine.stop()

    async def died(self) -> str:
        """Wait until no restart is left; why the last engine died."""
        assert self._supervisor is not None, "start comes first"
        return await asyncio.shield(self._supervisor)

    async def _supervise(self) -> str:
        """Replace engines as they die; why the last one did, once no restart is left."""
        while True:
            started_at = time.monotonic()
            self._reason = await self._engine.died()
            self._died_at = time.perf_counter()
            self._started = False
            if time.monotonic() - started_at >= _STABLE_S:
                self._restarts_left = self._restarts
            await self._engine.stop()
            if not await self._restart():
                return self._reason

    async def _restart(self) -> bool:
        """Start a successor; False where no restart is left."""
        while self._restarts_left:
            pause = min(2.0 ** (self._restarts - self._restarts_left), _MAX_PAUSE_S)
            self._restarts_left -= 1
            logger.error(
                "the engine is gone: %s; starting another in %g s (%d left)", self._reason, pause, self._restarts_left
            )
            await asyncio.sleep(pause)
            try:
                self._earlier_hangs += self._engine.hangs
                self._engine = self._make()
                await self._engine.start()
            except EngineroomError as error:
                self._reason = str(error)
                await self._engine.stop()
                continue
            self.restarted += 1
            self._reason = ""
            self._on_started()
            logger.info("the engine is back")
            return True
        return False

    def _on_started(self) -> None:
        """Wake the requests that wait for this engine; those to come will wait for the next."""
        self._started = True
        awaited, self._successor = self._successor, asyncio.get_running_loop().create_future()
        if awaited is not None:
            awaited.set_result(None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._restarting and self._successor is not None and self._arrived_before_death(scope):
            await self._wait_for_successor(self._successor, receive)
        if self._restarting:
            error = APIError(
                f"The engine is being started again: {self._reason or 'it has just ended'}.",
                status=503,
                code="engine_loading",
                retry_after=_RETRY_AFTER_S,
            )
            await error_response(send, scope, error)
            return
        # From here on no `await` may come before the engine gets the request: these two belong together.
        engine = self._engine
        successor = self._successor
        if successor is None or not engine.health().ready:
            await engine.app(scope, receive, send)
            return
        response = HeldResponse(lambda: not engine.health().live, send)
        await engine.app(scope, receive, response.send)
        if not response.held:
            return
        if await self._wait_for_successor(successor, receive):
            logger.info(
                "%s %s goes to the new engine: the old one died before it answered", scope["method"], scope["path"]
            )
            await self._engine.app(scope, receive, send)
            return
        await response.release()

    def _arrived_before_death(self, scope: Scope) -> bool:
        """Whether a request was at the door when the engine died. It waits like those that the engine had already."""
        return self._started or get_context(scope).started < self._died_at

    async def _wait_for_successor(self, successor: asyncio.Future[None], receive: Receive) -> bool:
        """Whether the next engine has started in time, and the client is still there."""
        try:
            await race(self._successor_or_end(successor), receive, self._patience)
        except (ClientDisconnected, asyncio.TimeoutError):
            return False
        return successor.done()

    async def _successor_or_end(self, successor: asyncio.Future[None]) -> None:
        """Wait until the next engine has started, or none will."""
        assert self._supervisor is not None
        awaited: set[asyncio.Future[Any]] = {successor, self._supervisor}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
