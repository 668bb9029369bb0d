"""A start-up timeline: which phase was over how long after the process began."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Timeline:
    """Phases in the order in which they ended, each with seconds since this process was started."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float]] = []

    def mark(self, phase: str) -> None:
        """Note that `phase` is over; a phase counts once."""
        if all(name != phase for name, _ in self.marks):
            self.marks.append((phase, process_age()))

    def __str__(self) -> str:
        return ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in self.marks)


def process_age() -> float:
    """Seconds since this process was started; since its first CPU use where there is no /proc."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
