"""The search for the largest rate that keeps the objectives: doubling, then halving what is left."""

from __future__ import annotations

import math


class RateSearch:
    """Hands out rates to try, one after another.

    Args:
        start: the first rate, in requests a second.
        precision: how near the largest good rate and the least bad one have to be, as a ratio.
        tries: after so many it is over.
    """

    def __init__(self, start: float, precision: float = 1.1, tries: int = 12) -> None:
        self._next: float | None = start
        self._precision = precision
        self._tries_left = tries
        self.good = 0.0
        """The largest rate so far that kept the objectives; 0 where none did."""

        self.bad = math.inf
        """The least rate so far that did not."""

    def next_rate(self) -> float | None:
        """The rate to try; None where the search is over."""
        return self._next if self._tries_left > 0 else None

    def tried(self, rate: float, met: bool) -> None:
        """What came of a try."""
        self._tries_left -= 1
        if met:
            self.good = max(self.good, rate)
        else:
            self.bad = min(self.bad, rate)
        if math.isinf(self.bad):
            self._next = rate * 2
        elif not self.good:
            self._next = self.bad / 4
        elif self.bad / self.good <= self._precision:
            self._next = None
        else:
            # Three digits are plenty, and a rate that was tried is not tried again.
            middle = float(f"{math.sqrt(self.good * self.bad):.3g}")
            self._next = middle if self.good < middle < self.bad else None
