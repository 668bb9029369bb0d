"""Whose turn it is: so many at a time, a bounded queue with a deadline, important ones first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections import Counter

from engineroom.asgi import ASGIApp, Receive, Scope, Send, disconnected
from engineroom.errors import APIError

from ..context import get_context
from .base import Refusing

_LONGEST_RETRY_S = 60


class Turn:
    """One request's place, running or waiting. Always `leave` it.

    granted: done when it may run; fails where it was displaced by something more important.
    """

    def __init__(self, turns: Turns, who: str, priority: int, number: int) -> None:
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.priority = priority
        self.who = who
        self.began = 0.0
        self._number = number
        self._turns = turns

    def __lt__(self, other: Turn) -> bool:
        """Whether it comes before another."""
        return (-self.priority, self._number) < (-other.priority, other._number)

    def grant(self) -> None:
        self.began = time.monotonic()
        self.granted.set_result(None)

    def leave(self) -> None:
        """Give the place up, whatever has become of it."""
        self._turns.leave(self)


class Turns:
    """Turns of requests.

    Args:
        at_once: how many may have theirs at a time; None for any number.
        queue: how many may wait. One more displaces the last of a lower priority, or is refused.
    """

    def __init__(self, at_once: int | None, queue: int) -> None:
        self._at_once = at_once
        self._queue = queue
        self._heap: list[Turn] = []
        self._numbers = itertools.count()
        self._of: Counter[str] = Counter()
        self._seconds = 1.0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._heap)

    def enter(self, who: str, own_limit: int | None, priority: int) -> Turn:
        """A place for a request of `who`: its turn, or one in the queue.

        Raises:
            APIError: 429 where `who` has `own_limit` places already, 503 where the queue is full.
        """
        if own_limit is not None and self._of[who] >= own_limit:
            raise APIError(
                f"Too many requests at once: {own_limit} is the limit. Please wait for one to end.",
                status=429,
                type="rate_limit_error",
                code="concurrency_limit_exceeded",
                retry_after=self._retry_after(0),
            )
        turn = Turn(self, who, priority, next(self._numbers))
        if self._at_once is None or (self.running < self._at_once and not self._heap):
            self.running += 1
            turn.grant()
        else:
            if len(self._heap) >= self._queue:
                self._make_room(priority)
            heapq.heappush(self._heap, turn)
        self._of[who] += 1
        return turn

    def leave(self, turn: Turn) -> None:
        self._of[turn.who] -= 1
        if not self._of[turn.who]:
            del self._of[turn.who]
        if turn.began:
            # A moving mean over about the last twenty turns.
            self._seconds += (time.monotonic() - turn.began - self._seconds) / 20
            self._pass_on()
        else:
            self._drop(turn)

    def busy(self, why: str) -> APIError:
        """The error for one that cannot be served now."""
        return APIError(
            f"The server is busy: {why}. Please try again later.",
            status=503,
            code="server_busy",
            retry_after=self._retry_after(len(self._heap)),
        )

    def _pass_on(self) -> None:
        if self._heap:
            heapq.heappop(self._heap).grant()
        else:
            self.running -= 1

    def _make_room(self, priority: int) -> None:
        last = max(self._heap, default=None)
        if last is None or last.priority >= priority:
            raise self.busy("too many are waiting")
        self._drop(last)
        last.granted.set_exception(self.busy("more important requests came"))

    def _drop(self, turn: Turn) -> None:
        if turn in self._heap:
            self._heap.remove(turn)
            heapq.heapify(self._heap)

    def _retry_after(self, ahead: int) -> int:
        """Seconds until about as many turns as are `ahead` are over."""
        seconds = (ahead + 1) * self._seconds / (self._at_once or 1)
        return min(max(1, math.ceil(seconds)), _LONGEST_RETRY_S)


class Admission(Refusing):
    """Holds requests until it is their turn; one whose client leaves meanwhile gives its place up.

    Args:
        per_key: how many turns a key may have at a time, where the key itself does not say.
        timeout: seconds one may wait.
    """

    def __init__(self, app: ASGIApp, turns: Turns, per_key: int | None, timeout: float) -> None:
        super().__init__(app)
        self._turns = turns
        self._per_key = per_key
        self._timeout = timeout

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # Lists of models and the like cost the engine nothing.
            await self.app(scope, receive, send)
            return
        call = get_context(scope)
        turn = self._turns.enter(call.key.name, call.key.concurrency or self._per_key, call.key.priority)
        try:
            if not turn.granted.done():
                asked = time.perf_counter()
                try:
                    if not await self._came(turn, receive):
                        return
                finally:
                    call.queued = time.perf_counter() - asked
            await self.app(scope, receive, send)
        finally:
            turn.leave()

    async def _came(self, turn: Turn, receive: Receive) -> bool:
        """Whether its turn came before its client left."""
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait({turn.granted, gone}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        if turn.granted.done():
            turn.granted.result()
            return True
        if gone.cancelled():
            raise self._turns.busy(f"this request's turn did not come within {self._timeout:g} s")
        return False
