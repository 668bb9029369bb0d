"""The run loop: it alone calls `Residency`, carries its effects out, and turns their ends into events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from ..asgi.disconnect import RequestTimeoutError, race
from ..asgi.types import Receive
from ..engine import Engine
from ..errors import APIError, EngineroomError
from ..timeouts import timeout
from .engines import ModelLoader, ShortOfMemoryError
from .residency import NeededMemory, Place, Residency, not_loaded

logger = logging.getLogger(__name__)

_LOOK_S = 0.25
"""Seconds between two looks at the engines, and at the time."""
_OPERATOR_RETRY_S = 10
"""Seconds after which an operator may try again to have a model loaded."""


class RunLoop:
    """Everything that happens to models, one event after another, all in one event loop.

    Events are calls; none of them waits, and none comes while another is handled. What takes long, loads and unloads,
    runs beside it, and its end is an event again.

    Args:
        loader: carries loads and unloads out.
        queue_timeout: seconds that a request may wait in all.

    on_change: called with an engine that has been loaded, or is about to be unloaded.
    """

    def __init__(self, loader: ModelLoader, queue_timeout: float) -> None:
        self._loader = loader
        self._queue_timeout = queue_timeout
        self._engines: dict[str, Engine] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._unloads: dict[str, asyncio.Task[None]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._granted: dict[Place, asyncio.Future[None]] = {}
        self._changed: asyncio.Event = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._failure: asyncio.Future[str] | None = None
        self._stopped = False
        self._earlier_hangs = 0
        self.on_change: Callable[[str, Engine], Awaitable[None]] = _ignore

    def use(self, residency: Residency) -> None:
        """The state that it drives, and whose effects it carries out."""
        self._residency = residency

    # For requests and operators.

    def engine(self, name: str) -> Engine | None:
        """The engine of a model that is loaded; only whoever has a place that is granted may give it a request."""
        return self._engines.get(name)

    def engines(self) -> dict[str, Engine]:
        """The engines of the models that are loaded, by the model's name."""
        return dict(self._engines)

    @property
    def hangs(self) -> int:
        """How often engines have stopped responding so far."""
        return self._earlier_hangs + sum(engine.hangs for engine in self._engines.values())

    @property
    def failure(self) -> str:
        """Why the loop can go on no longer; empty where it can."""
        return self._failure.result() if self._failure is not None and self._failure.done() else ""

    def now(self) -> float:
        """The time by the loop's own clock."""
        return time.monotonic()

    async def start(self, needs: Sequence[NeededMemory], budget: int | None) -> None:
        """Load what is pinned or to be preloaded; returns once all of these are loaded, or have failed.

        Args:
            needs, budget: see `Residency.begin`.
        """
        self._looking = self._guarded(self._keep_looking())
        self._residency.begin(time.monotonic(), needs, budget)
        while self._residency.starting():
            await self._next_change()
        left_out = self._residency.forget_preloads()
        if left_out:
            names = ", ".join(left_out)
            logger.warning("there was no room to preload %s: each is loaded when it is first asked for", names)

    def arrive(self, name: str) -> Place:
        """A request for a model; see `Residency.arrive`. Give the place back with `leave`."""
        self._look_at(name)
        place = self._residency.arrive(name, time.monotonic())
        if place.state == "waiting":
            self._granted[place] = asyncio.get_running_loop().create_future()
        return place

    async def wait(self, place: Place, receive: Receive) -> None:
        """Wait until a place is granted.

        Raises:
            APIError: it will not be, in time or at all.
            ClientDisconnected: the client left.
        """
        granted = self._granted.get(place)
        if granted is None:
            return
        left = place.arrived + self._queue_timeout - time.monotonic()
        try:
            # Shielded: it may still be granted when its request has just left.
            await race(asyncio.shield(granted), receive, max(0.0, left))
        except RequestTimeoutError:
            message = f"The request waited {self._queue_timeout:g} s for the model `{place.model}`."
            raise APIError(message, status=503, param="model", code="server_busy", retry_after=10) from None

    def leave(self, place: Place) -> None:
        """A request is over, or has given up."""
        self._granted.pop(place, None)
        self._residency.leave(place, time.monotonic())

    async def load(self, name: str) -> None:
        """Load a model, and wait until it is.

        Raises:
            APIError: 503, it could not be, or not in time.
        """
        self._residency.want(name, time.monotonic())
        end = time.monotonic() + self._queue_timeout
        while self._residency.phase(name) != "resident":
            reason = self._residency.failure(name)
            if self._stopped:
                reason = "the worker is shutting down"
            elif time.monotonic() > end:
                reason = f"there was no room for it within {self._queue_timeout:g} s"
            if reason:
                raise not_loaded(name, reason, _OPERATOR_RETRY_S)
            await self._next_change()

    async def unload(self, name: str) -> None:
        """Unload a model once what it is at has ended, and wait until it is gone.

        Raises:
            APIError: 504, it is busy for longer than a request may wait.
        """
        self._residency.dismiss(name, time.monotonic())
        end = time.monotonic() + self._queue_timeout
        while self._residency.is_dismissed(name) and not self._stopped:
            if time.monotonic() > end:
                message = f"The model `{name}` is still busy; it is unloaded once it is not."
                raise APIError(message, status=504, param="model", code="model_busy")
            await self._next_change()

    async def stop(self, reason: APIError) -> None:
        """Refuse what waits, cancel what loads, stop all engines. Idempotent."""
        self._stopped = True
        self._residency.close(reason)
        self._announce()
        tasks = [*self._loads.values(), *self._watches.values()]
        if self._looking is not None:
            tasks.append(self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._unloads.values(), return_exceptions=True)
        engines = list(self._engines.values())
        results = await asyncio.gather(*(engine.stop() for engine in engines), return_exceptions=True)
        self._engines.clear()
        for result in results:
            if isinstance(result, Exception):
                logger.error("an engine could not be stopped in order: %s", result)

    async def failed(self) -> str:
        """Wait until the loop itself can go on no longer; why."""
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._failure)

    # Effects.

    def begin_load(self, name: str, memory: int) -> None:
        self._loads[name] = self._guarded(self._load(name, memory))

    def begin_unload(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        if watch is not None and watch is not asyncio.current_task():
            watch.cancel()
        self._unloads[name] = self._guarded(self._unload(name))

    def grant(self, place: Place) -> None:
        granted = self._granted.get(place)
        if granted is not None and not granted.done():
            granted.set_result(None)

    def refuse(self, place: Place, error: APIError) -> None:
        granted = self._granted.get(place)
        if granted is not None and not granted.done():
            granted.set_exception(error)
            granted.exception()  # Its request may just have left.

    # Within.

    async def _load(self, name: str, memory: int) -> None:
        logger.info("%s is being loaded", name)
        began = time.monotonic()
        try:
            loaded = await self._loader.load(name, memory)
        except ShortOfMemoryError as error:
            self._loads.pop(name, None)
            self._residency.short_of_memory(name, time.monotonic(), error.missing, str(error))
            return
        except EngineroomError as error:
            self._loads.pop(name, None)
            logger.error("%s could not be loaded: %s", name, error)
            self._residency.load_failed(name, time.monotonic(), str(error))
            return
        except Exception as error:
            self._loads.pop(name, None)
            logger.exception("%s could not be loaded", name)
            self._residency.load_failed(name, time.monotonic(), f"{type(error).__name__}: {error}")
            return
        self._loads.pop(name, None)
        self._engines[name] = loaded.engine
        await self.on_change(name, loaded.engine)
        self._watches[name] = self._guarded(self._watch(name, loaded.engine))
        logger.info("%s is loaded after %.1f s", name, time.monotonic() - began)
        self._residency.loaded(name, time.monotonic(), loaded.memory)

    async def _unload(self, name: str) -> None:
        logger.info("%s is being unloaded", name)
        try:
            await self.on_change(name, self._engines[name])
            self._earlier_hangs += self._engines[name].hangs
            # Whoever unloads it has the only reference: its memory can be given back there.
            await self._loader.unload(name, self._engines.pop(name))
        except Exception:
            logger.exception("%s could not be stopped in order", name)
            self._engines.pop(name, None)
        self._unloads.pop(name, None)
        self._residency.unloaded(name, time.monotonic())

    async def _watch(self, name: str, engine: Engine) -> None:
        self._note_death(name, await engine.died())

    async def _keep_looking(self) -> None:
        """What nobody tells: whether engines respond, and that time has passed."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for name in list(self._engines):
                self._look_at(name)
            self._residency.tick(time.monotonic())

    def _look_at(self, name: str) -> None:
        """Notice at once what an engine's health says: a death, that it hangs, that it responds again."""
        engine = self._engines.get(name)
        if engine is None or self._residency.phase(name) not in ("resident", "draining"):
            return
        health = engine.health()
        if health.live:
            self._residency.stalled(name, time.monotonic(), health.hung)
        else:
            self._note_death(name, health.reason)

    def _note_death(self, name: str, reason: str) -> None:
        if self._residency.phase(name) in ("resident", "draining") and not self._stopped:
            logger.error("%s is gone: %s; the next request for it loads it again", name, reason)
            self._residency.died(name, time.monotonic(), reason)

    def _guarded(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose end is announced, and which takes the whole loop down where it fails: a mistake of ours."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._announce()
            return
        logger.error("the run loop of the models has failed", exc_info=error)
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        if not self._failure.done():
            self._failure.set_result(f"the run loop of the models has failed: {error}")

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        with suppress(asyncio.TimeoutError):
            async with timeout(1):
                await self._changed.wait()


async def _ignore(name: str, engine: Engine) -> None:
    """Nobody wants to know."""
