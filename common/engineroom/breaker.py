"""A circuit breaker: after so many failures in a row nothing is tried for a while, then one thing is."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Counts failures in a row of one thing that may be broken.

    Closed it lets everything through. After `failures` in a row it is open: nothing goes through for `rest`
    seconds. Then it lets one through; if that succeeds it closes, if not it rests again.

    Args:
        failures: how many in a row open it.
        rest: seconds for which it stays open.
        clock: seconds that pass.
    """

    def __init__(self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest = rest
        self._clock = clock
        self._failed = 0
        self._until = 0.0

    @property
    def state(self) -> str:
        """`closed`, `open`, or `half-open` when the next thing to come through is a trial."""
        if self._failed < self._limit:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    @property
    def wait(self) -> float:
        """Seconds until something is let through; 0 if now."""
        return max(0.0, self._until - self._clock()) if self._failed >= self._limit else 0.0

    def allow(self) -> bool:
        """Whether to go through now. One that may must say how it went: `succeeded` or `failed`.

        A trial that never says counts as failed after another `rest`.
        """
        state = self.state
        if state == "half-open":
            self._until = self._clock() + self._rest
        return state != "open"

    def succeeded(self) -> None:
        self._failed = 0

    def failed(self) -> None:
        self._failed += 1
        if self._failed >= self._limit:
            self._until = self._clock() + self._rest
