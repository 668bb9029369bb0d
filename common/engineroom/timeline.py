"""A start-up timeline: which phase was over how long after the process began.

The phases, as far as an engine and a door have them: interpreter, settings read, model resolved, engine spawned,
engine ready, and the first job or request. One log line has them all once the engine is ready; what comes later has
a line of its own.
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
        self._logged = False

    def mark(self, phase: str, at: float | None = None) -> None:
        """Note that `phase` is over; a phase counts once.

        Args:
            at: seconds since this process was started, where that was not just now.
        """
        if all(name != phase for name, _ in self.marks):
            self.marks.append((phase, process_age() if at is None else at))
            logger.log(logging.INFO if self._logged else logging.DEBUG, "start-up: %s %.2f s", *self.marks[-1])

    def log(self) -> None:
        """Write the phases so far to the log, in one line."""
        logger.info("start-up: %s", str(self))
        self._logged = True

    @property
    def last(self) -> str:
        """The phase that ended last, empty before the first."""
        return self.marks[-1][0] if self.marks else ""

    def __str__(self) -> str:
        return ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in self.marks)


def process_age() -> float:
    """Seconds since this process was started; since its first CPU use where there is no /proc."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
