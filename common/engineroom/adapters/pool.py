"""Which adapters an engine has loaded: on demand, a bounded number, the one that was used longest ago gives way."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from ..errors import APIError
from ..timeouts import timeout
from .sources import Adapter

logger = logging.getLogger(__name__)

_PATIENCE_S = 2.0
"""Seconds for which the adapter with the fewest requests has time to become idle, until the next one is asked, too: one
of those requests may be long."""


@dataclass(slots=True)
class _LoadedAdapter:
    """users: requests that use it now; leaving: it takes no more of them, and goes when the last is done."""

    adapter: Adapter
    users: int = 0
    leaving: bool = False


@dataclass(slots=True)
class _WaitingRequests:
    """Those for one adapter that is not loaded, in the order in which they came."""

    adapter: Adapter
    turns: list[asyncio.Future[None]] = field(default_factory=list)


class AdapterPool:
    """Loads adapters for the requests that need them, and unloads idle ones to make room.

    At most `capacity` are loaded. An adapter that a request uses is never unloaded. Where all are in use, one of them
    takes no further requests until one is idle, after a while another, and the first that is idle gives way: so nobody
    waits for ever behind a popular adapter, and requests for different adapters take turns. Requests for one adapter
    share one load. One that fails fails them and nobody else. A changed adapter (another `Adapter.version`) is loaded
    anew once its old requests are done.

    Args:
        load: has the engine load an adapter; raises APIError where it cannot.
        unload: has it forget one that is loaded, by name.
        capacity: how many may be loaded at a time; at least 1 may.

    counts: how many `loads`, `unloads` and `failures` there have been.
    """

    def __init__(
        self,
        load: Callable[[Adapter], Awaitable[None]],
        unload: Callable[[str], Awaitable[None]],
        capacity: int,
    ) -> None:
        self._load = load
        self._unload = unload
        self.capacity = max(1, capacity)
        self._loaded: dict[str, _LoadedAdapter] = {}
        """By name, the one that was used longest ago first."""
        self._waiting: dict[str, _WaitingRequests] = {}
        """By name, the one that has been asked for longest first."""
        self._changed = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of the adapters that are loaded now, the one that was used longest ago first."""
        return tuple(self._loaded)

    @property
    def awaited(self) -> tuple[str, ...]:
        """The names of the adapters that requests wait for, the one that has been asked for longest first."""
        return tuple(self._waiting)

    @asynccontextmanager
    async def use(self, adapter: Adapter) -> AsyncIterator[None]:
        """Have the adapter loaded for as long as the block runs.

        Raises:
            APIError: it cannot be loaded.
        """
        if not self._take(adapter):
            await self._wait(adapter)
        try:
            yield
        finally:
            self._leave(adapter.name)

    async def close(self) -> None:
        """End what is under way. Who still waits is cancelled by its caller."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None

    def _take(self, adapter: Adapter) -> bool:
        """Use the adapter if it is loaded, and stays so."""
        loaded = self._loaded.get(adapter.name)
        if loaded is None or loaded.leaving or loaded.adapter.version != adapter.version:
            return False
        self._enter(loaded)
        return True

    def _enter(self, loaded: _LoadedAdapter) -> None:
        loaded.users += 1
        self._touch(loaded.adapter.name)

    def _leave(self, name: str) -> None:
        self._loaded[name].users -= 1
        self._touch(name)
        self._changed.set()

    def _touch(self, name: str) -> None:
        self._loaded[name] = self._loaded.pop(name)

    async def _wait(self, adapter: Adapter) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(adapter.name, _WaitingRequests(adapter))
        waiting.adapter = adapter
        waiting.turns.append(turn)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._serve_waiting())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave(adapter.name)
            raise
        finally:
            self._changed.set()

    async def _serve_waiting(self) -> None:
        """Load what is waited for, one adapter after another, until nobody waits."""
        ask_at = 0.0
        while self._waiting:
            name, waiting = next(iter(self._waiting.items()))
            waiting.turns = [turn for turn in waiting.turns if not turn.done()]
            if not waiting.turns:
                del self._waiting[name]
                continue
            loaded = self._loaded.get(name)
            if loaded is not None and loaded.adapter.version == waiting.adapter.version:
                # It was to give way to an adapter that nobody waits for any more.
                loaded.leaving = False
                self._grant(name)
                continue
            in_the_way = self._in_the_way(name)
            if not in_the_way:
                await self._load_for(name, waiting)
            elif idle := [loaded for loaded in in_the_way if not loaded.users]:
                await self._drop(idle[0])
                self._keep_all()
                ask_at = 0.0
            else:
                now = asyncio.get_running_loop().time()
                if now >= ask_at:
                    self._ask_to_leave(in_the_way)
                    ask_at = now + _PATIENCE_S
                self._changed.clear()
                with suppress(asyncio.TimeoutError):
                    async with timeout(ask_at - now):
                        await self._changed.wait()
        self._keep_all()

    def _in_the_way(self, name: str) -> list[_LoadedAdapter]:
        """The adapters of which one has to go before `name` can be loaded: its own older version; else, where there is
        no room, any, the one that was used longest ago first."""
        if name in self._loaded:
            return [self._loaded[name]]
        return list(self._loaded.values()) if len(self._loaded) >= self.capacity else []

    def _ask_to_leave(self, busy: list[_LoadedAdapter]) -> None:
        """One more is to take no further requests: the one with the fewest."""
        staying = [loaded for loaded in busy if not loaded.leaving]
        if staying:
            min(staying, key=lambda loaded: loaded.users).leaving = True

    def _keep_all(self) -> None:
        for loaded in self._loaded.values():
            loaded.leaving = False

    async def _drop(self, loaded: _LoadedAdapter) -> None:
        name = loaded.adapter.name
        loaded.leaving = True
        try:
            await self._unload(name)
        except Exception as error:
            # A dying engine, for instance. What waits must not wait for ever because of it.
            logger.warning("the engine did not unload the adapter %s: %s", name, error)
        del self._loaded[name]
        self.counts["unloads"] += 1

    async def _load_for(self, name: str, waiting: _WaitingRequests) -> None:
        adapter = waiting.adapter
        try:
            await self._load(adapter)
        except APIError as error:
            self._refuse(name, error)
        except Exception:
            logger.exception("the adapter %s cannot be loaded", name)
            self._refuse(name, APIError(f"The adapter `{name}` could not be loaded.", status=500))
        else:
            self._loaded[name] = _LoadedAdapter(adapter)
            self.counts["loads"] += 1
            if waiting.adapter.version == adapter.version:
                self._grant(name)

    def _grant(self, name: str) -> None:
        for turn in self._waiting.pop(name).turns:
            if not turn.done():
                self._enter(self._loaded[name])
                turn.set_result(None)

    def _refuse(self, name: str, error: APIError) -> None:
        self.counts["failures"] += 1
        for turn in self._waiting.pop(name).turns:
            if not turn.done():
                # One for each: who raises an error writes its frames into it.
                turn.set_exception(copy.copy(error))
