"""What the engine's own processes take, where it has some: what runs below the door, but for door processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from engineroom.engine import Metric, exposition
from engineroom.process import descendants

_DOOR_PROCESS = b"engineroom_workers.http.processes"
"""What the command line of a door process names, which runs below the main one, too."""


class EngineProcesses(NamedTuple):
    """processes: how many; memory: resident bytes, shared ones counted in each; cpu: seconds of those that live."""

    processes: int
    memory: int
    cpu: float

    def text(self) -> str:
        """In Prometheus' text format; empty where there are none."""
        if not self.processes:
            return ""
        return exposition(
            [
                Metric("engineroom_engine_processes", "gauge", "The engine's processes.", {"": self.processes}),
                Metric(
                    "engineroom_engine_resident_memory_bytes",
                    "gauge",
                    "Memory of the engine's processes.",
                    {"": self.memory},
                ),
                Metric(
                    "engineroom_engine_cpu_seconds_total",
                    "counter",
                    "CPU time of the engine's processes.",
                    {"": self.cpu},
                ),
            ]
        )


def read_engine_processes() -> EngineProcesses:
    """Look at them now, in a few milliseconds; none where the system has no /proc."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    processes = 0
    memory = 0
    ticks = 0
    for pid in descendants(os.getpid()):
        with suppress(OSError):  # It may just have ended.
            if _DOOR_PROCESS in Path(f"/proc/{pid}/cmdline").read_bytes():
                continue
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()
            processes += 1
            ticks += int(fields[11]) + int(fields[12])
            memory += int(fields[21]) * page_bytes
    return EngineProcesses(processes, memory, ticks / ticks_per_s)
