"""The platform's rate limits for clients (RunPod's documentation); off unless asked for."""

from __future__ import annotations

import time
from collections import deque
from typing import Final, NamedTuple


class Limit(NamedTuple):
    """requests: so many within ten seconds; concurrent: so many at one time, None for any."""

    requests: int
    concurrent: int | None


LIMITS: Final = {
    "run": Limit(1000, 200),
    "runsync": Limit(2000, 400),
    "status": Limit(2000, 400),
    "stream": Limit(2000, 400),
    "cancel": Limit(100, 20),
    "purge-queue": Limit(2, None),
    "openai": Limit(2000, 400),
}
WINDOW_S = 10.0
QUEUED_ALWAYS, QUEUED_PER_WORKER = 50, 500
"""A queue is full with more jobs than both: so many, and so many a worker."""


class Limiter:
    """Counts one endpoint's requests."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {name: deque() for name in LIMITS}
        self._running = dict.fromkeys(LIMITS, 0)

    def enter(self, operation: str, queued: int, workers: int) -> bool:
        """Whether a request may go on; if so, `leave` must follow."""
        limit = LIMITS.get(operation)
        if limit is None:
            return True
        submits = operation in ("run", "runsync", "openai")
        if submits and queued > max(QUEUED_ALWAYS, QUEUED_PER_WORKER * workers):
            return False
        now = time.monotonic()
        recent = self._recent[operation]
        while recent and recent[0] <= now - WINDOW_S:
            recent.popleft()
        full = limit.concurrent is not None and self._running[operation] >= limit.concurrent
        if full or len(recent) >= limit.requests:
            return False
        recent.append(now)
        self._running[operation] += 1
        return True

    def leave(self, operation: str) -> None:
        if operation in self._running:
            self._running[operation] -= 1
