"""A circuit breaker: it spares something that keeps failing, and the time of those who would try it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Counts how often something failed in a row, and says whether to try it again.

    A closed breaker lets every caller try. After `failures` failures in a row it opens: nobody may try for `rest`
    seconds. Then it lets one caller try. If that one succeeds the breaker closes, if it fails the rest begins anew.

    Args:
        failures: how many failures in a row open it.
        rest: seconds for which it stays open.
        clock: the time in seconds, from any beginning.
    """

    def __init__(self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest = rest
        self._clock = clock
        self._failed = 0
        self._until = 0.0

    @property
    def state(self) -> str:
        """`closed`, `open`, or `half-open` when the next caller may make a trial."""
        if self._failed < self._limit:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    @property
    def wait(self) -> float:
        """Seconds until a caller may try; 0 if one may now."""
        return max(0.0, self._until - self._clock()) if self._failed >= self._limit else 0.0

    def allow(self) -> bool:
        """Whether to try now. A caller that may try must report how it went: `succeeded` or `failed`.

        A trial of a half-open breaker without a report counts as failed after another `rest`.
        """
        state = self.state
        if state == "half-open":
            self._until = self._clock() + self._rest
        return state != "open"

    def succeeded(self) -> None:
        """Report a success, which closes the breaker."""
        self._failed = 0

    def failed(self) -> None:
        """Report a failure."""
        self._failed += 1
        if self._failed >= self._limit:
            self._until = self._clock() + self._rest
