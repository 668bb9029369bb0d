"""What a process and its descendants have done so far, read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..watchdog import Activity
from .reaper import descendants

_STOPPED = ("T", "t")
"""States of a process that a signal or a debugger has stopped, see proc_pid_stat(5)."""


def read_activity(root: int) -> Activity | None:
    """What the descendants of a process have done so far, in a few milliseconds; None where there are none to see."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    processes = ticks = faults = stopped = 0
    for pid in descendants(root):
        with suppress(OSError):  # It may just have ended.
            fields = _fields(f"/proc/{pid}/stat")
            processes += 1
            stopped += fields[0] in _STOPPED
            faults += int(fields[9])
            ticks += int(fields[11]) + int(fields[12])
    return Activity(ticks / ticks_per_s, faults, processes, stopped) if processes else None


def thread_activity(native_ids: list[int]) -> Activity | None:
    """What some of this process's threads have done so far; None where the system does not say, or one has ended."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    ticks = faults = 0
    try:
        for native_id in native_ids:
            fields = _fields(f"/proc/self/task/{native_id}/stat")
            faults += int(fields[9])
            ticks += int(fields[11]) + int(fields[12])
    except OSError:
        return None
    return Activity(ticks / ticks_per_s, faults)


def _fields(path: str) -> list[str]:
    """The fields behind the name, which may hold anything; the state is the first."""
    return Path(path).read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
