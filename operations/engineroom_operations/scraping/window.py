"""The last minute of one server: rates and percentiles from the differences between scrapes."""

from __future__ import annotations

from collections import deque

from engineroom.engine import Measure

from .change import SnapshotChange
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

    def _change(self, seconds: float) -> SnapshotChange | None:
        """From the snapshot that is this old, or the oldest, to the newest; None where there are no two."""
        if len(self._snapshots) < 2:
            return None
        newest = self._snapshots[-1]
        earlier = [each for each in self._snapshots if newest.at - each.at >= seconds]
        return SnapshotChange(earlier[-1] if earlier else self._snapshots[0], newest)

    def rate(self, measure: Measure, seconds: float) -> float | None:
        """How much a counter has grown in a second, over the last `seconds`; None where that is not known."""
        change = self._change(seconds)
        growth = None if change is None else change.growth(measure)
        return None if change is None or growth is None else growth / change.seconds

    def status_rate(self, seconds: float) -> dict[str, float]:
        """Requests a second by their status, over the last `seconds`."""
        change = self._change(seconds)
        if change is None:
            return {}
        before = change.before.statuses
        return {
            status: (count - before.get(status, 0.0)) / change.seconds for status, count in change.now.statuses.items()
        }

    def histogram(self, measure: Measure) -> Histogram | None:
        """The samples of the whole window; None where there are no two snapshots, or no such histogram."""
        change = self._change(self._seconds)
        return None if change is None else change.histogram(measure)

    @property
    def prefix_hit_share(self) -> float | None:
        """The share of the prompts' tokens, over the whole window, that were in the cache of prefixes."""
        change = self._change(self._seconds)
        return None if change is None else change.prefix_hit_share

    def cpu(self, seconds: float) -> float | None:
        """Processors that the engine's processes keep busy, over the last `seconds`."""
        change = self._change(seconds)
        if change is None:
            return None
        now = change.now.engine_cpu_s
        before = change.before.engine_cpu_s
        return None if now is None or before is None else max(0.0, now - before) / change.seconds
