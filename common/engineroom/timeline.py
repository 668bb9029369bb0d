"""A start-up timeline: which phase was over how long after the process began.

The phases, as far as an engine and a door have them: interpreter, settings read, model resolved, engine spawned,
engine ready, and the first job or request. Each is logged as it ends, so that a slow start is seen while it is slow.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

logger = logging.getLogger(__name__)


class Timeline:
    """Phases in the order in which they ended, each with seconds since this process was started."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float]] = []

    def mark(self, phase: str, at: float | None = None) -> None:
        """Note that `phase` is over; a phase counts once.

        Args:
            at: seconds since this process was started, where that was not just now.
        """
        if all(name != phase for name, _ in self.marks):
            at = process_age() if at is None else at
            self.marks.append((phase, at))
            logger.info("start-up: %s after %.2f s", phase, at)

    def __str__(self) -> str:
        return ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in self.marks)


def process_age() -> float:
    """Seconds since this process was started; since its first CPU use where there is no /proc."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
