"""The memory that models share: of the GPUs where there are some, else of the machine or the container."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from ..hardware import gpus

_POLL_S = 0.5
_QUERY_S = 10
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


class MemoryReading(NamedTuple):
    """Bytes: all there is, and what is free now, to whoever is first."""

    total: int
    free: int


class MachineMemory(Protocol):
    """Memory that can be looked at.

    of_gpus: whether it is GPUs', and not the machine's.
    """

    of_gpus: bool

    async def read(self) -> MemoryReading | None:
        """How much there is now; None where nobody says."""


class GpuMemory:
    """The memory of the GPUs that CUDA sees, together, as nvidia-smi says."""

    of_gpus = True

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._command = gpus.nvidia_smi(("memory.total", "memory.free"), environ)

    async def read(self) -> MemoryReading | None:
        return await asyncio.to_thread(self._read)

    def _read(self) -> MemoryReading | None:
        try:
            output = subprocess.run(self._command, capture_output=True, text=True, timeout=_QUERY_S, check=True).stdout
            rows = [[int(float(field)) for field in line.split(",")] for line in output.splitlines() if line.strip()]
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
        return MemoryReading(sum(row[0] for row in rows) << 20, sum(row[1] for row in rows) << 20) if rows else None


class MainMemory:
    """The machine's memory, or as much of it as the container may have (cgroups, version 2 and 1)."""

    of_gpus = False

    async def read(self) -> MemoryReading | None:
        machine = _meminfo()
        container = _limit()
        if machine is None or container is None:
            return machine or container
        return MemoryReading(min(machine.total, container.total), min(machine.free, container.free))


def machine_memory(environ: Mapping[str, str]) -> MachineMemory:
    """What models here are loaded into."""
    return GpuMemory(environ) if gpus.count(environ) else MainMemory()


async def wait_for_room(memory: MachineMemory, size: int, seconds: float) -> int:
    """Wait until so many bytes are free, a bounded time: what a process held may come back late.

    Returns:
        The bytes that are missing then; 0 where there is room, or nobody says how much there is.
    """
    end = time.monotonic() + seconds
    while True:
        reading = await memory.read()
        missing = 0 if reading is None else max(0, size - reading.free)
        if not missing or time.monotonic() >= end:
            return missing
        await asyncio.sleep(_POLL_S)


def own_memory() -> int:
    """Resident bytes of this process; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def give_back() -> None:
    """Give the system what this process has freed, and holds for later.

    What an engine in this process held is in cycles, mostly, which nobody would collect for long; and glibc keeps freed
    memory that lies below something in use, unless it is told to look for whole pages in it (malloc_trim(3)).
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # Not every system has glibc.
        ctypes.CDLL(None).malloc_trim(0)


def _meminfo() -> MemoryReading | None:
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
        total, free = (int(lines[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return MemoryReading(total, free)


def _limit() -> MemoryReading | None:
    """The container's share; None where it has no limit."""
    for folder, limit, usage in (
        (_CGROUP, "memory.max", "memory.current"),
        (_CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError, IndexError):  # `max` is no number.
            total = int((folder / limit).read_text())
            used = int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            # The cache of files is given up for whoever needs the memory.
            cached = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
            if total < 1 << 60:
                return MemoryReading(total, max(0, total - used + cached))
    return None
