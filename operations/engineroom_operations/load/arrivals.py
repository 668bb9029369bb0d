"""When requests of an open loop are due: an endless row of seconds since its start."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple


class Arrivals(NamedTuple):
    """How requests arrive, whether or not others are answered.

    rate: requests a second, on average.
    at_once: how many arrive together, as bursts.
    regular: whether the gaps are all equal; else they are those of a Poisson process, as of many users.
    """

    rate: float
    at_once: int = 1
    regular: bool = False

    def due(self, seed: int) -> Iterator[float]:
        """Seconds from the start; the same row for the same seed."""
        chance = random.Random(seed)
        burst_rate = self.rate / self.at_once
        moment = 0.0
        while True:
            for _ in range(self.at_once):
                yield moment
            moment += 1 / burst_rate if self.regular else chance.expovariate(burst_rate)
