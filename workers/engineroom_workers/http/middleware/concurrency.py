"""How many requests run at a time, and who waits: a bounded queue with a deadline, important requests first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from engineroom.asgi import RESERVATION, ASGIApp, Receive, Scope, Send, race
from engineroom.errors import APIError

from .base import ErrorMiddleware, Gauge, Resources
from .context import get_context

if TYPE_CHECKING:
    from ..options import Options

_MAX_RETRY_AFTER_S = 60


class ConcurrencyMiddleware(ErrorMiddleware):
    """Holds requests until they may run; one whose client leaves meanwhile gives its place up.

    Without MAX_CONCURRENT_REQUESTS any number may run, but each key only as many as its own limit says.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        limits = resources.options.limits
        self._limit = limits.max_concurrent_requests
        self._semaphore = PrioritySemaphore(self._limit, limits.queue_length)
        self._per_key = limits.max_concurrent_requests_per_key
        self._timeout = limits.queue_timeout

    @classmethod
    def wanted(cls, options: Options) -> bool:
        limits = options.limits
        # The file may give any key limits of its own, at any time.
        has_keys_file = options.access.api_keys_file is not None
        return bool(limits.max_concurrent_requests or limits.max_concurrent_requests_per_key or has_keys_file)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # Lists of models and the like cost the engine nothing.
            await self.app(scope, receive, send)
            return
        context = get_context(scope)
        key = context.key
        permit = self._semaphore.acquire(key.name, key.concurrency or self._per_key, key.priority)
        try:
            if not permit.granted.done():
                queued_at = time.perf_counter()
                try:
                    # Shielded: the semaphore may still grant a permit whose request has just left.
                    await race(asyncio.shield(permit.granted), receive, self._timeout)
                except asyncio.TimeoutError:
                    raise self._semaphore.busy(f"this request waited {self._timeout:g} s for its turn") from None
                finally:
                    context.queued = time.perf_counter() - queued_at
            if self._limit is not None and RESERVATION in scope:
                scope[RESERVATION].release()  # So many may run; REQUEST_MEMORY_MB is for the others.
            await self.app(scope, receive, send)
        finally:
            self._semaphore.release(permit)

    def state(self) -> dict[str, Any]:
        return {"running": self._semaphore.running, "waiting": self._semaphore.waiting}

    def gauges(self) -> list[Gauge]:
        semaphore = self._semaphore
        return [Gauge("requests_waiting", "Requests that are waiting in the queue.", lambda: semaphore.waiting)]


class Permit:
    """One request's leave to run, granted or waited for. Give it back with `PrioritySemaphore.release`.

    granted: done when the request may run; fails with an APIError where a more important one displaced it.
    """

    def __init__(self, owner: str, priority: int, number: int) -> None:
        self.owner = owner
        self.priority = priority
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.granted_at: float | None = None
        self._number = number

    def __lt__(self, other: Permit) -> bool:
        """Whether it comes before another: by priority, then in the order of arrival."""
        return (-self.priority, self._number) < (-other.priority, other._number)

    def grant(self) -> None:
        self.granted_at = time.monotonic()
        self.granted.set_result(None)


class PrioritySemaphore:
    """Permits for requests to run.

    Args:
        limit: how many may run at a time; None for any number.
        queue_length: how many may wait. One more displaces the last of a lower priority, or is refused.
    """

    def __init__(self, limit: int | None, queue_length: int) -> None:
        self._limit = limit
        self._queue_length = queue_length
        self._queue: list[Permit] = []  # A heap.
        self._numbers = itertools.count()
        self._permits_of: Counter[str] = Counter()
        self._mean_seconds = 1.0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    def acquire(self, owner: str, owner_limit: int | None, priority: int) -> Permit:
        """A permit for a request of `owner`: granted, or in the queue.

        Raises:
            APIError: 429 where `owner` has `owner_limit` permits already, 503 where the queue is full.
        """
        if owner_limit is not None and self._permits_of[owner] >= owner_limit:
            raise APIError(
                f"Too many requests at once: {owner_limit} is the limit. Please wait for one to end.",
                status=429,
                type="rate_limit_error",
                code="concurrency_limit_exceeded",
                retry_after=self._retry_after(0),
            )
        permit = Permit(owner, priority, next(self._numbers))
        if self._limit is None or (self.running < self._limit and not self._queue):
            self.running += 1
            permit.grant()
        else:
            if len(self._queue) >= self._queue_length:
                self._displace_last(priority)
            heapq.heappush(self._queue, permit)
        self._permits_of[owner] += 1
        return permit

    def release(self, permit: Permit) -> None:
        """Give a permit up, whether or not it was granted. The next in the queue gets its place."""
        self._permits_of[permit.owner] -= 1
        if not self._permits_of[permit.owner]:
            del self._permits_of[permit.owner]
        if permit.granted_at is None:
            self._remove(permit)
            return
        # A moving mean over about the last twenty requests.
        self._mean_seconds += (time.monotonic() - permit.granted_at - self._mean_seconds) / 20
        if self._queue:
            heapq.heappop(self._queue).grant()
        else:
            self.running -= 1

    def busy(self, reason: str) -> APIError:
        """The error for a request that cannot run now."""
        return APIError(
            f"The server is busy: {reason}. Please try again later.",
            status=503,
            code="server_busy",
            retry_after=self._retry_after(len(self._queue)),
        )

    def _displace_last(self, priority: int) -> None:
        """Make room in the queue for a request of `priority`.

        Raises:
            APIError: 503 where all who wait are as important.
        """
        last = max(self._queue, default=None)
        if last is None or last.priority >= priority:
            raise self.busy("too many requests are waiting")
        self._remove(last)
        last.granted.set_exception(self.busy("requests of higher priority took its place"))

    def _remove(self, permit: Permit) -> None:
        if permit in self._queue:  # Not if it was displaced.
            self._queue.remove(permit)
            heapq.heapify(self._queue)

    def _retry_after(self, ahead: int) -> int:
        """Seconds until about as many requests as are `ahead` are over."""
        seconds = (ahead + 1) * self._mean_seconds / (self._limit or 1)
        return min(max(1, math.ceil(seconds)), _MAX_RETRY_AFTER_S)
