"""A bell: coroutines wait for it to ring."""

from __future__ import annotations

import asyncio
from collections import deque


class Bell:
    """Wakes its waiters, those who have waited longest first. A ring that nobody waits for is not kept."""

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

    async def wait(self) -> None:
        """Wait until it rings. A waiter that is cancelled while it rings passes the ring on to the next."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self.ring_one()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
