"""What measurements are kept in: counters and histograms of one thread, the event loop's, and recent samples.

Some are added to for every piece of every stream. prometheus_client's own take a lock each time, and its histograms
look through their buckets from the first.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

WINDOW_S = 300
"""How far back percentiles look."""

_MAX_SAMPLES = 8192
"""How many samples are kept; under more load they look less far back."""


class CounterSeries:
    """What has been counted with one set of labels.

    value: so many so far. Add to it; it never falls.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class UnlockedCounter(Collector):
    """A counter to be registered with prometheus_client.

    Args:
        name, description, labels: as prometheus_client's `Counter` takes them.
    """

    def __init__(self, name: str, description: str, labels: Sequence[str]) -> None:
        self._name = name
        self._description = description
        self._labels = tuple(labels)
        self._series: dict[tuple[str, ...], CounterSeries] = {}

    def series(self, *values: str) -> CounterSeries:
        """What is counted with these values of the labels; the same at each call."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = CounterSeries()
        return series

    def total(self) -> int:
        """What has been counted so far, with all labels together."""
        return sum(series.value for series in self._series.values())

    def sums(self, label: str) -> dict[str, int]:
        """What has been counted so far, by the values of one label."""
        position = self._labels.index(label)
        sums: Tally[str] = Tally()
        for values, series in self._series.items():
            sums[values[position]] += series.value
        return dict(sums)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """What prometheus_client writes."""
        family = CounterMetricFamily(self._name, self._description, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, float(series.value))
        return [family]


class HistogramSeries:
    """The observations with one set of labels.

    Args:
        bounds: upper bounds of the buckets, in order, without infinity.

    counts: observations by bucket, those above all bounds last; not cumulative.
    total: the sum of what was observed.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in the first bucket whose bound is not below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Iterable[float]) -> None:
        """Count several values."""
        bounds = self._bounds
        counts = self.counts
        total = self.total
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self.total = total


class UnlockedHistogram(Collector):
    """A histogram to be registered with prometheus_client.

    Args:
        name, description, bounds, labels: as prometheus_client's `Histogram` takes them.
    """

    def __init__(self, name: str, description: str, bounds: Sequence[float], labels: Sequence[str]) -> None:
        self._name = name
        self._description = description
        self._bounds = tuple(bounds)
        self._labels = tuple(labels)
        self._series: dict[tuple[str, ...], HistogramSeries] = {}
        if not labels:
            self.series()  # Which says 0 before the first.

    def series(self, *values: str) -> HistogramSeries:
        """The observations with these values of the labels; the same at each call."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = HistogramSeries(self._bounds)
        return series

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What prometheus_client writes, its counts cumulative."""
        family = HistogramMetricFamily(self._name, self._description, labels=self._labels)
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for values, series in self._series.items():
            count = 0
            buckets = []
            for name, in_bucket in zip(names, series.counts, strict=True):
                count += in_bucket
                buckets.append((name, float(count)))
            family.add_metric(values, buckets, series.total)
        return [family]


class RecentSamples:
    """The samples of the last five minutes, at most 8192 of them.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MAX_SAMPLES)

    def add(self, at: float, value: float) -> None:
        """Note a sample that was taken `at` a time of the clock."""
        self._samples.append((at, value))

    def add_all(self, samples: Iterable[tuple[float, float]]) -> None:
        """Note several: of each the time and the value."""
        self._samples.extend(samples)

    def summary(self) -> dict[str, float | int | None]:
        """`count`, and `p50`, `p95`, `p99` by nearest rank; None where there is no sample."""
        since = self._clock() - WINDOW_S
        values = sorted(value for at, value in self._samples if at >= since)
        return {"count": len(values)} | {f"p{share}": _percentile(values, share) for share in (50, 95, 99)}


class DurationSeries:
    """Durations with one set of labels: all of them, and those of the last five minutes."""

    __slots__ = ("_histogram", "_recent")

    def __init__(self, histogram: HistogramSeries, recent: RecentSamples) -> None:
        self._histogram = histogram
        self._recent = recent

    def add(self, at: float, seconds: float) -> None:
        """Note one that ended `at` a time by `time.perf_counter`."""
        self._histogram.observe(seconds)
        self._recent.add(at, seconds)

    def add_all(self, durations: list[tuple[float, float]]) -> None:
        """Note several: of each when it ended, and its seconds."""
        self._histogram.observe_all([seconds for _, seconds in durations])
        self._recent.add_all(durations)


def _percentile(values: Sequence[float], share: int) -> float | None:
    return round(values[max(0, math.ceil(len(values) * share / 100) - 1)], 6) if values else None
