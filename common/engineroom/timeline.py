"""The start-up timeline: how long after the start of the process each phase ended.

The phases, as far as an engine and a door have them: interpreter, settings read, model resolved, engine spawned,
engine ready, and the first job or request. One log line has all of them once the engine is ready; each phase that
ends later has a line of its own.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from .progress import Progress

logger = logging.getLogger(__name__)


class Timeline:
    """The phases in the order in which they ended.

    marks: pairs of a phase and the seconds between the start of this process and the phase's end.
    progress: the download that goes on now; None where there is none.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[str, float]] = []
        self.progress: Progress | None = None
        self._logged = False

    def mark(self, phase: str, at: float | None = None) -> None:
        """Note that `phase` has ended. Only the first call for a phase counts.

        Args:
            at: seconds since this process was started; by default, now.
        """
        if any(name == phase for name, _ in self.marks):
            return
        seconds = process_age() if at is None else at
        self.marks.append((phase, seconds))
        if self._logged:
            # It may be anybody's first request, hours later: no part of the start.
            logger.info("%s, %.2f s after this process was started", phase, seconds)
        else:
            logger.debug("start-up: %s %.2f s", phase, seconds)

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
    """Seconds since this process was started. Without /proc it is the CPU time that the process has used."""
    try:
        # The 22nd field, which is the 20th behind the name in brackets: clock ticks since the machine booted.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
