"""A bell: coroutines wait for it to ring, for a time limit, or for their client to hang up."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto

from engineroom.asgi import Receive


class Woken(Enum):
    """Why a wait ended."""

    RUNG = auto()
    TIMEOUT = auto()
    GONE = auto()


class Bell:
    """Wakes those who wait, in the order in which they came. A ring that nobody waits for is not kept."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiters(self) -> int:
        """How many wait now."""
        return sum(not waiter.done() for waiter in self._waiting)

    def ring_one(self) -> None:
        """Wake whoever has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def ring(self) -> None:
        """Wake all."""
        while self._waiting:
            self.ring_one()

    async def wait(self, timeout: float | None, gone: asyncio.Future[None] | None = None) -> Woken:
        """Wait until it rings.

        Args:
            timeout: seconds; None waits without limit.
            gone: a future that is done once the client has hung up; such a waiter hears no ring.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait(
                (waiter,) if gone is None else (waiter, gone), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        except BaseException:
            self._leave(waiter)
            raise
        if gone is not None and gone.done():
            self._leave(waiter)
            return Woken.GONE
        if waiter.done():
            return Woken.RUNG
        self._leave(waiter)
        return Woken.TIMEOUT

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        if waiter.done():
            # It rang for one who cannot answer: the next one may.
            self.ring_one()
        else:
            self._waiting.remove(waiter)


async def hung_up(receive: Receive) -> None:
    """Return when the client has hung up; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
