"""What the processes below the door's main one take: the engine's own, where it has some, and door processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from engineroom.engine import Metric, exposition
from engineroom.process import descendants

_DOOR_PROCESS = b"engineroom_workers.http.processes"
"""What the command line of a door process names."""


class ProcessUsage(NamedTuple):
    """What some processes take.

    processes: how many they are.
    memory: resident bytes, shared ones counted in each.
    cpu: seconds of those that live.
    """

    processes: int
    memory: int
    cpu: float

    def report(self) -> dict[str, Any]:
        """As `/metrics.json` has it."""
        return {"processes": self.processes, "cpu_s": self.cpu, "memory_mb": round(self.memory / 1e6, 1)}


class ChildProcesses(NamedTuple):
    """What each kind of them takes; none where the system has no /proc."""

    engine: ProcessUsage
    doors: ProcessUsage

    @classmethod
    def read(cls) -> ChildProcesses:
        """Look at them now, in a few milliseconds."""
        engine: list[ProcessUsage] = []
        doors: list[ProcessUsage] = []
        for pid in descendants(os.getpid()):
            with suppress(OSError):  # It may just have ended.
                is_door = _DOOR_PROCESS in Path(f"/proc/{pid}/cmdline").read_bytes()
                (doors if is_door else engine).append(_usage(pid))
        return cls(_sum(engine), _sum(doors))

    def text(self) -> str:
        """In Prometheus' text format, without a kind of which there are none."""
        metrics = []
        if self.engine.processes:
            metrics += _metrics("engine", "processes of the engine", self.engine)
        if self.doors.processes:
            metrics += _metrics("door", "door processes", self.doors)
        return exposition(metrics) if metrics else ""


def _usage(pid: int) -> ProcessUsage:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ProcessUsage(1, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


def _sum(each: Sequence[ProcessUsage]) -> ProcessUsage:
    return ProcessUsage(len(each), sum(one.memory for one in each), round(sum(one.cpu for one in each), 2))


def _metrics(owner: str, owned: str, usage: ProcessUsage) -> list[Metric]:
    return [
        Metric(f"engineroom_{owner}_processes", "gauge", f"Number of {owned}.", {"": usage.processes}),
        Metric(f"engineroom_{owner}_resident_memory_bytes", "gauge", f"Memory of {owned}.", {"": usage.memory}),
        Metric(f"engineroom_{owner}_cpu_seconds_total", "counter", f"CPU time of {owned}.", {"": usage.cpu}),
    ]
