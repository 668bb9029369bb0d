"""What a process and its descendants have done so far, read from /proc."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from ..watchdog import Activity
from .reaper import descendants

_STOPPED = ("T", "t")
"""States of a process that a signal or a debugger has stopped, see proc_pid_stat(5)."""


def read_activity(root: int, generating: str = "") -> Activity | None:
    """What the descendants of a process have done so far, in a few milliseconds; None where there are none to see.

    Args:
        generating: a regular expression for the command lines of those whose work counts, with that of their own
            descendants; that of all where it is empty, or none is there.
    """
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    processes = ticks = faults = stopped = 0
    waited = 0.0
    pids = descendants(root)
    working = _working(pids, generating)
    for pid in pids:
        with suppress(OSError):  # It may just have ended.
            fields = _fields(f"/proc/{pid}/stat")
            processes += 1
            stopped += fields[0] in _STOPPED
            if pid not in working:
                continue
            faults += int(fields[9])
            ticks += int(fields[11]) + int(fields[12])
            waited += _all_waited(f"/proc/{pid}/task")
    return Activity(ticks / ticks_per_s, waited, faults, processes, stopped) if processes else None


def _working(pids: list[int], generating: str) -> set[int]:
    """Those among processes whose work is that of the engine."""
    if not generating:
        return set(pids)
    named = [pid for pid in pids if re.search(generating, _command_line(pid))]
    return {each for pid in named for each in (pid, *descendants(pid))} or set(pids)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def thread_activity(native_ids: list[int]) -> Activity | None:
    """What some of this process's threads have done so far; None where the system does not say, or one has ended."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    ticks = faults = 0
    waited = 0.0
    try:
        for native_id in native_ids:
            thread = f"/proc/self/task/{native_id}"
            fields = _fields(f"{thread}/stat")
            faults += int(fields[9])
            ticks += int(fields[11]) + int(fields[12])
            waited += _waited(thread)
    except OSError:
        return None
    return Activity(ticks / ticks_per_s, waited, faults)


def own_activity() -> Activity:
    """What this process has done so far."""
    return Activity(sum(os.times()[:2]), _all_waited("/proc/self/task"))


def _fields(path: str) -> list[str]:
    """The fields behind the name, which may hold anything; the state is the first."""
    return Path(path).read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _waited(thread: str) -> float:
    """Seconds for which a thread could have run and had no processor; 0 where the system does not say.

    See sched-stats in the kernel's documentation: nanoseconds on a processor, nanoseconds waiting for one, time slices.
    """
    try:
        return int(Path(f"{thread}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # Not every kernel counts it, and a thread may just have ended.
        return 0.0


def _all_waited(threads: str) -> float:
    """The same for all threads of a process."""
    try:
        return sum(_waited(f"{threads}/{thread}") for thread in os.listdir(threads))
    except OSError:
        return 0.0
