"""What a target was before: since when it is in its state, and how its figures went."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from .reading import Reading, TargetState

_LOOKS = 200


class StateHistory:
    """The state of a target over time."""

    def __init__(self) -> None:
        self.state: TargetState = "unknown"
        self._since = time.monotonic()
        self._changes = 0

    def note(self, state: TargetState) -> float | None:
        """The state at this moment; seconds for which it has been so, None where it was never seen in another."""
        now = time.monotonic()
        if state != self.state:
            self._changes += self.state != "unknown"
            self.state = state
            self._since = now
        return now - self._since if self._changes or state != "up" else None


class TrendHistory:
    """The figures of a target whose course says more than their value: tokens a second, and the median TTFT."""

    titles = ("out/s", "TTFT p50")

    def __init__(self) -> None:
        self._rows: tuple[deque[float | None], ...] = tuple(deque(maxlen=_LOOKS) for _ in self.titles)

    def add(self, reading: Reading) -> None:
        """Note the newest look."""
        ttft = reading.time_to_first_token
        median = None if ttft is None else ttft.p50
        for row, value in zip(self._rows, (reading.completion_tokens_per_s, median), strict=True):
            row.append(value)

    def newest(self, count: int) -> Mapping[str, Sequence[float | None]]:
        """The last values, by title."""
        return {title: list(row)[-count:] for title, row in zip(self.titles, self._rows, strict=True)}
