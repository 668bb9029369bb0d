"""What a server's own /metrics tell while it is measured."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from engineroom.engine import Measure

from ..load.failure import RequestFailure
from ..load.http_client import HTTPClient
from ..scraping.change import SnapshotChange
from ..scraping.exposition import UnreadableMetrics
from ..scraping.snapshot import MetricsSnapshot
from ..scraping.vocabulary import MetricVocabulary
from .figures import ServerFigures

_INTERVAL_S = 2.0
_FIRST_LOOK_S = 0.5
"""Seconds after a stage's beginning: its first streams run by then."""

_TIMEOUT_S = 5.0


class ServerRecorder:
    """From snapshots of a server to a stage's figures, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._first: MetricsSnapshot | None = None
        self._last: MetricsSnapshot | None = None
        self._sums: defaultdict[Measure, float] = defaultdict(float)
        self._counts: defaultdict[Measure, int] = defaultdict(int)
        self._peaks: dict[Measure, float] = {}

    def add(self, snapshot: MetricsSnapshot, under_load: bool) -> None:
        """Add the next snapshot.

        Args:
            under_load: whether it is from within the stage; those at its ends say nothing of what ran and waited.
        """
        if self._first is None or (self._last is not None and not snapshot.follows(self._last)):
            # A server that has started anew counts from nothing.
            self._first = snapshot
        self._last = snapshot
        if under_load:
            for measure, value in snapshot.gauges.items():
                self._sums[measure] += value
                self._counts[measure] += 1
                self._peaks[measure] = max(value, self._peaks.get(measure, value))

    def figures(self) -> ServerFigures:
        """What the snapshots tell of the time between the first and the last."""
        if self._first is None or self._last is None or self._first is self._last:
            return ServerFigures()
        change = SnapshotChange(self._first, self._last)
        return ServerFigures(
            running=self._mean("requests_running"),
            running_peak=self._peaks.get("requests_running"),
            waiting=self._mean("requests_waiting"),
            waiting_peak=self._peaks.get("requests_waiting"),
            cache_used_peak=self._peaks.get("cache_usage"),
            preemptions=change.growth("preemptions"),
            queue_ms=_mean_ms(change, "queue_time"),
            prefill_ms=_mean_ms(change, "prefill_time"),
            decode_ms=_mean_ms(change, "decode_time"),
            ttft_ms=_mean_ms(change, "time_to_first_token"),
            prefix_hit_share=change.prefix_hit_share,
        )

    def _mean(self, measure: Measure) -> float | None:
        count = self._counts[measure]
        return self._sums[measure] / count if count else None


def _mean_ms(change: SnapshotChange, measure: Measure) -> float | None:
    histogram = change.histogram(measure)
    mean = None if histogram is None else histogram.mean
    return None if mean is None else 1000 * mean


class ServerWatch:
    """Looks at a server's metrics every two seconds.

    Args:
        client: of the server's root.
        vocabulary: the names that are known.
    """

    def __init__(self, client: HTTPClient, vocabulary: MetricVocabulary) -> None:
        self._client = client
        self._vocabulary = vocabulary
        self.available = True
        """Whether the server has metrics of known names, for all that is known by now."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[ServerRecorder]:
        """Look during the block, at its beginning and at its end."""
        recorder = ServerRecorder()
        await self._look(recorder, under_load=False)
        task = asyncio.ensure_future(self._watch(recorder))
        try:
            yield recorder
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._look(recorder, under_load=False)

    async def _watch(self, recorder: ServerRecorder) -> None:
        await asyncio.sleep(_FIRST_LOOK_S)
        while self.available:
            await self._look(recorder, under_load=True)
            await asyncio.sleep(_INTERVAL_S)

    async def _look(self, recorder: ServerRecorder, under_load: bool) -> None:
        if not self.available:
            return
        try:
            response = await self._client.fetch("GET", "/metrics", timeout_s=_TIMEOUT_S)
        except RequestFailure:
            return
        snapshot = None
        if response.status == 200:
            with suppress(UnreadableMetrics):
                snapshot = self._vocabulary.read(response.body.decode("utf-8", "replace"), time.monotonic())
        if snapshot is None or snapshot.says_nothing:
            self.available = False
        else:
            recorder.add(snapshot, under_load)
