"""Histograms that belong to one thread, the event loop's: some are observed for every piece of every stream.

prometheus_client's own takes a lock, and looks through its buckets from the first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


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
