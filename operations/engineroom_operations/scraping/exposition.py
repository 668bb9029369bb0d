"""Prometheus' text format, read into sums over labels, since a server has one line for each model, key and rank."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_ROUTE_LABELS = ("route", "handler", "path", "endpoint")
_NO_MODEL = frozenset(
    {"/metrics", "/metrics.json", "/health", "/ping", "/running", "/v1/models", "/v1/models/*", "/version", "/load"}
)
"""Routes that monitors and health checks ask for, this one among them: they would be most of an idle server's. What
operators ask for would be among its slowest: a model that is loaded."""


class UnreadableMetrics(Exception):
    """A text is not in Prometheus' format. The exception's text says what is wrong."""


class Bucket(NamedTuple):
    """A bucket of a histogram. limit: its upper limit; samples: those up to there, of lower buckets, too."""

    limit: float
    samples: float


class Histogram(NamedTuple):
    """A histogram, in the unit that it is measured in.

    buckets: from the lowest to that without a limit.
    total: the sum of all samples; None where the server does not say.
    """

    buckets: tuple[Bucket, ...]
    total: float | None = None

    def since(self, earlier: Histogram) -> Histogram:
        """What has come between two looks."""
        before = dict(earlier.buckets)
        buckets = tuple(Bucket(limit, samples - before.get(limit, 0.0)) for limit, samples in self.buckets)
        if self.total is None or earlier.total is None:
            return Histogram(buckets)
        return Histogram(buckets, self.total - earlier.total)

    def scaled(self, divisor: float) -> Histogram:
        """The same in a unit that is so many times as large."""
        total = None if self.total is None else self.total / divisor
        return Histogram(tuple(bucket._replace(limit=bucket.limit / divisor) for bucket in self.buckets), total)

    def plus(self, other: Histogram) -> Histogram:
        """Both together, where their limits are the same; the larger of the two where they are not."""
        if [bucket.limit for bucket in self.buckets] != [bucket.limit for bucket in other.buckets]:
            return max(self, other, key=lambda histogram: histogram.samples)
        pairs = zip(self.buckets, other.buckets, strict=True)
        total = None if self.total is None or other.total is None else self.total + other.total
        return Histogram(tuple(Bucket(one.limit, one.samples + two.samples) for one, two in pairs), total)

    @property
    def samples(self) -> float:
        return self.buckets[-1].samples if self.buckets else 0.0

    @property
    def mean(self) -> float | None:
        """The mean of the samples; None without samples, and where their sum is not known."""
        return self.total / self.samples if self.total is not None and self.samples > 0 else None

    def percentile(self, percent: float) -> float | None:
        """The value below which so many percent of the samples are; None without samples.

        It is interpolated within its bucket, as Prometheus' `histogram_quantile` does it; beyond the last limit it is
        that limit.
        """
        if self.samples <= 0:
            return None
        rank = self.samples * percent / 100
        lower = Bucket(0.0, 0.0)
        for bucket in self.buckets:
            if bucket.samples >= rank and bucket.samples > lower.samples:
                if math.isinf(bucket.limit):
                    return lower.limit
                share = (rank - lower.samples) / (bucket.samples - lower.samples)
                return lower.limit + (bucket.limit - lower.limit) * max(0.0, share)
            lower = bucket
        return lower.limit


class Exposition:
    """The samples of a scrape.

    Args:
        text: what `/metrics` answered.

    Raises:
        UnreadableMetrics: it is something else.
    """

    def __init__(self, text: str) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        has_samples = False
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    has_samples = True
                    if not math.isnan(sample.value) and not _says_nothing(sample.labels):
                        self._samples[sample.name].append((sample.labels, sample.value))
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            raise UnreadableMetrics(str(error)) from error
        if text.strip() and not has_samples and not text.lstrip().startswith("#"):
            raise UnreadableMetrics("there is no sample in it")

    def values(self, name: str) -> list[float]:
        """The value of each line of a metric."""
        return [value for _, value in self._samples.get(name, ())]

    def total(self, name: str) -> float | None:
        """The sum of a metric over its labels; None where it is not there."""
        values = self.values(name)
        return sum(values) if values else None

    def mean(self, name: str) -> float | None:
        """The mean of a metric over its labels; None where it is not there."""
        values = self.values(name)
        return sum(values) / len(values) if values else None

    def by_label(self, name: str, labels: Iterable[str]) -> dict[str, float]:
        """The sums of a metric by the first of these labels that its lines have."""
        sums: dict[str, float] = defaultdict(float)
        for having, value in self._samples.get(name, ()):
            label = next((having[label] for label in labels if label in having), None)
            if label is not None:
                sums[label] += value
        return dict(sums)

    def states(self, name: str, of: str, state: str) -> dict[str, str]:
        """What each thing is at, by a gauge with a line for the state that it is in, or one for each with a 1 or 0.

        Args:
            of: the label with the thing's name.
            state: the label with its state.
        """
        lines = self._samples.get(name, ())
        return {labels[of]: labels[state] for labels, value in lines if value and of in labels and state in labels}

    def histogram(self, name: str) -> Histogram | None:
        """A histogram, summed over its labels; None where it is not there."""
        counts: dict[float, float] = defaultdict(float)
        for labels, value in self._samples.get(f"{name}_bucket", ()):
            counts[float(labels["le"])] += value
        if not counts:
            return None
        return Histogram(tuple(Bucket(limit, counts[limit]) for limit in sorted(counts)), self.total(f"{name}_sum"))


def _says_nothing(labels: Mapping[str, str]) -> bool:
    """Whether a sample is of no model, or is there for pools alone, which want a number also where nobody has one."""
    if labels.get("measured") == "false":
        return True
    return any(labels.get(label, "").removesuffix("/") in _NO_MODEL for label in _ROUTE_LABELS)
