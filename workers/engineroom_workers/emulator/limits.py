"""The platform's limits: how large a body may be, and how many requests clients may send (RunPod's documentation)."""

from __future__ import annotations

import time
from collections import deque
from typing import Final, NamedTuple

MB = 1024 * 1024

MAX_RUN = 10 * MB
"""Largest body of `/run`."""
MAX_RUNSYNC = 20 * MB
"""Largest body of `/runsync`; the emulator holds `/openai/*` to the same."""
MAX_CHUNK = 1 * MB
"""Largest body of one job-stream POST."""
MAX_RESULT = 20 * MB
"""Largest body of a job-done POST; above it the platform answers 400 (worker-comfyui#129)."""


class RequestLimit(NamedTuple):
    """How many requests one operation takes.

    requests: how many within ten seconds.
    concurrent: how many at one time; None for any number.
    """

    requests: int
    concurrent: int | None


REQUEST_LIMITS: Final = {
    "run": RequestLimit(1000, 200),
    "runsync": RequestLimit(2000, 400),
    "status": RequestLimit(2000, 400),
    "stream": RequestLimit(2000, 400),
    "cancel": RequestLimit(100, 20),
    "purge-queue": RequestLimit(2, None),
    "openai": RequestLimit(2000, 400),
}
SUBMITTING: Final = frozenset({"run", "runsync", "openai"})
"""The operations that put a job into the queue."""

WINDOW_S = 10.0
QUEUED_ALWAYS = 50
QUEUED_PER_WORKER = 500
"""The queue takes `QUEUED_ALWAYS` jobs, or this many for each worker, whichever is more."""


class RequestLimiter:
    """Counts the requests of one endpoint's clients. It is used only with `--limits`."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {operation: deque() for operation in REQUEST_LIMITS}
        self._running = dict.fromkeys(REQUEST_LIMITS, 0)

    def enter(self, operation: str, queued: int, workers: int) -> bool:
        """Decide whether a request may go on; if it may, the caller must call `leave` when it has ended.

        Args:
            operation: the first part of the path that follows the endpoint's id, e.g. `run`.
            queued: how many jobs are in the queue.
            workers: how many workers there are.
        """
        limit = REQUEST_LIMITS.get(operation)
        if limit is None:
            return True
        if operation in SUBMITTING and queued > max(QUEUED_ALWAYS, QUEUED_PER_WORKER * workers):
            return False
        now = time.monotonic()
        recent = self._recent[operation]
        while recent and recent[0] <= now - WINDOW_S:
            recent.popleft()
        if len(recent) >= limit.requests:
            return False
        if limit.concurrent is not None and self._running[operation] >= limit.concurrent:
            return False
        recent.append(now)
        self._running[operation] += 1
        return True

    def leave(self, operation: str) -> None:
        """Note the end of a request that was let in."""
        if operation in self._running:
            self._running[operation] -= 1
