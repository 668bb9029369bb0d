"""Counters for one event loop: the library's own take a lock for each addition and each look-up."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


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
