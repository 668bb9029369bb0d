"""A histogram of durations in flat memory: however many are recorded, any percentile is within 0.1 % of the true one.

Bins are equally wide on a logarithmic scale, each 0.2 % wider than the one before, and a value is reported as the
middle of its bin. Count, mean, deviation, least and largest are exact. HdrHistogram and DDSketch rest on the same idea;
docs/bench.md says why neither's package is used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

ERROR = 0.001
"""The largest relative error of a percentile."""

_BINS_PER_E = 1 / math.log(1 + 2 * ERROR)
_LEAST_S = 1e-7
"""Shorter durations count as this one in percentiles."""


class DurationHistogram:
    """Durations in seconds."""

    __slots__ = ("_bins", "_largest", "_least", "_squares", "_sum", "count")

    def __init__(self) -> None:
        self._bins: defaultdict[int, int] = defaultdict(int)
        self.count = 0
        self._sum = 0.0
        self._squares = 0.0
        self._least = math.inf
        self._largest = 0.0

    def record(self, seconds: float) -> None:
        self._bins[math.floor(math.log(seconds if seconds > _LEAST_S else _LEAST_S) * _BINS_PER_E)] += 1
        self.count += 1
        self._sum += seconds
        self._squares += seconds * seconds
        if seconds < self._least:
            self._least = seconds
        if seconds > self._largest:
            self._largest = seconds

    def merge(self, other: DurationHistogram) -> None:
        """Add all that another has recorded."""
        for index, number in other._bins.items():
            self._bins[index] += number
        self.count += other.count
        self._sum += other._sum
        self._squares += other._squares
        self._least = min(self._least, other._least)
        self._largest = max(self._largest, other._largest)

    @classmethod
    def merged(cls, histograms: Iterable[DurationHistogram]) -> DurationHistogram:
        whole = cls()
        for one in histograms:
            whole.merge(one)
        return whole

    @property
    def least(self) -> float:
        return self._least if self.count else 0.0

    @property
    def largest(self) -> float:
        return self._largest

    @property
    def mean(self) -> float:
        return self._sum / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of what was recorded."""
        if not self.count:
            return 0.0
        return math.sqrt(max(0.0, self._squares / self.count - self.mean**2))

    def percentile(self, percent: float) -> float:
        """The least duration that `percent` of all are no longer than; 0 where there are none."""
        if not self.count:
            return 0.0
        wanted = max(1, math.ceil(self.count * percent / 100))
        if wanted >= self.count:
            return self._largest
        passed = 0
        for index in sorted(self._bins):
            passed += self._bins[index]
            if passed >= wanted:
                return min(max(_middle(index), self._least), self._largest)
        return self._largest

    def share_within(self, seconds: float) -> float:
        """The share, 0 to 1, of durations no longer than this; 1 where there are none."""
        if not self.count or seconds >= self._largest:
            return 1.0
        return sum(number for index, number in self._bins.items() if _middle(index) <= seconds) / self.count

    def coarse(self, bars: int = 40) -> list[tuple[float, float, int]]:
        """Bars for a picture, equally wide on a logarithmic scale: from, to (seconds), and how many lie between."""
        if not self.count:
            return []
        least = max(self._least, _LEAST_S)
        low = math.log(least)
        width = max((math.log(max(self._largest, least)) - low) / bars, 0.01)
        counts = [0] * bars
        for index, number in self._bins.items():
            counts[min(bars - 1, max(0, int((math.log(_middle(index)) - low) / width)))] += number
        return [
            (math.exp(low + position * width), math.exp(low + (position + 1) * width), number)
            for position, number in enumerate(counts)
        ]


def _middle(index: int) -> float:
    return math.exp((index + 0.5) / _BINS_PER_E)
