"""A notification: coroutines wait until something has changed, and wake in the order in which they began to wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Notification:
    """Wakes the coroutines that wait for it.

    A notification for which nobody waits is not kept: there must be no `await` between a look at the state and `wait`,
    nor may `wait` be made a task of its own, which begins later. `wait_for` may.
    `asyncio.Condition` does the same, but needs a lock, which callbacks of timers cannot take.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def waiters(self) -> int:
        """How many coroutines wait now."""
        return sum(not waiter.done() for waiter in self._waiters)

    def notify_one(self) -> None:
        """Wake the coroutine that has waited longest."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def notify_all(self) -> None:
        """Wake all coroutines that wait."""
        while self._waiters:
            self.notify_one()

    async def wait(self) -> None:
        """Wait for the next notification. If this is cancelled after it was woken, it wakes the next waiter instead."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled():
                self.notify_one()
            raise

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true, looking now and at each notification."""
        while not condition():
            await self.wait()
