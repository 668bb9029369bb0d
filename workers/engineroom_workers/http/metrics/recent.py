"""Percentiles over the last five minutes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

WINDOW_S = 300
"""How far back percentiles look."""

_MAX_SAMPLES = 8192
"""How many samples are kept; under more load they look less far back."""


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


def _percentile(values: Sequence[float], share: int) -> float | None:
    return round(values[max(0, math.ceil(len(values) * share / 100) - 1)], 6) if values else None
