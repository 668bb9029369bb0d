"""The last minute of one server: rates and percentiles from the differences between scrapes."""

from __future__ import annotations

from collections import deque

from engineroom.engine import Measure

from .exposition import Histogram
from .snapshot import MetricsSnapshot


class Window:
    """The snapshots of one server, as far back as `seconds`.

    A server that has started anew begins a window anew: nothing is subtracted from the counters of its predecessor.
    """

    def __init__(self, seconds: float = 60) -> None:
        self._seconds = seconds
        self._snapshots: deque[MetricsSnapshot] = deque()

    def add(self, snapshot: MetricsSnapshot) -> bool:
        """Add the newest; whether it is of a server that has started anew."""
        restarted = bool(self._snapshots) and not snapshot.follows(self._snapshots[-1])
        if restarted:
            self._snapshots.clear()
        self._snapshots.append(snapshot)
        # One that is a little too old stays, so that the window is never shorter than its name says.
        while len(self._snapshots) > 2 and snapshot.at - self._snapshots[1].at >= self._seconds:
            self._snapshots.popleft()
        return restarted

    @property
    def last(self) -> MetricsSnapshot | None:
        return self._snapshots[-1] if self._snapshots else None

    def _pair(self, seconds: float) -> tuple[MetricsSnapshot, MetricsSnapshot] | None:
        """The newest snapshot and the one that is this old, or the oldest; None where there are no two."""
        if len(self._snapshots) < 2:
            return None
        newest = self._snapshots[-1]
        earlier = [each for each in self._snapshots if newest.at - each.at >= seconds]
        return (earlier[-1] if earlier else self._snapshots[0]), newest

    def rate(self, measure: Measure, seconds: float) -> float | None:
        """How much a counter has grown in a second, over the last `seconds`; None where that is not known."""
        pair = self._pair(seconds)
        if pair is None or measure not in pair[1].counters:
            return None
        before, now = pair
        # A metric with labels is not there before it has counted anything.
        return (now.counters[measure] - before.counters.get(measure, 0.0)) / (now.at - before.at)

    def status_rate(self, seconds: float) -> dict[str, float]:
        """Requests a second by their status, over the last `seconds`."""
        pair = self._pair(seconds)
        if pair is None:
            return {}
        before, now = pair
        passed = now.at - before.at
        return {status: (count - before.statuses.get(status, 0.0)) / passed for status, count in now.statuses.items()}

    def histogram(self, measure: Measure) -> Histogram | None:
        """The samples of the whole window; None where there are no two snapshots, or no such histogram."""
        pair = self._pair(self._seconds)
        if pair is None or measure not in pair[1].histograms:
            return None
        before, now = pair
        earlier = before.histograms.get(measure)
        return now.histograms[measure] if earlier is None else now.histograms[measure].since(earlier)

    def cpu(self, seconds: float) -> float | None:
        """Processors that the engine's processes keep busy, over the last `seconds`."""
        pair = self._pair(seconds)
        if pair is None or pair[1].engine_cpu_s is None or pair[0].engine_cpu_s is None:
            return None
        before, now = pair
        return max(0.0, (now.engine_cpu_s or 0) - (before.engine_cpu_s or 0)) / (now.at - before.at)
