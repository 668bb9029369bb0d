"""What came between two snapshots of one server."""

from __future__ import annotations

from typing import NamedTuple

from engineroom.engine import Measure

from .exposition import Histogram
from .snapshot import MetricsSnapshot


class SnapshotChange(NamedTuple):
    """The difference between two snapshots of a server that did not start anew between them."""

    before: MetricsSnapshot
    now: MetricsSnapshot

    @property
    def seconds(self) -> float:
        return self.now.at - self.before.at

    def growth(self, measure: Measure) -> float | None:
        """How much a counter has grown; None where there is none."""
        if measure not in self.now.counters:
            return None
        # A metric with labels is not there before it has counted anything.
        return self.now.counters[measure] - self.before.counters.get(measure, 0.0)

    def histogram(self, measure: Measure) -> Histogram | None:
        """The samples that came; None where there is no such histogram."""
        if measure not in self.now.histograms:
            return None
        earlier = self.before.histograms.get(measure)
        histogram = self.now.histograms[measure]
        return histogram if earlier is None else histogram.since(earlier)

    @property
    def prefix_hit_share(self) -> float | None:
        """The share of the prompts' tokens that were in the cache of prefixes, 0 to 1; None where there were no tokens.

        A server that does not count them may have a share of its own, over a time of its own: then it is that.
        """
        hits = self.growth("prefix_cache_hits")
        if hits is None:
            return self.now.gauges.get("prefix_cache_hit_ratio")
        queries = self.growth("prefix_cache_queries")
        misses = self.growth("prefix_cache_misses")
        if queries is None and misses is not None:
            queries = hits + misses
        return hits / queries if queries else None
