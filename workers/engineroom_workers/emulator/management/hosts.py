"""Where containers run: an interface, and this machine behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from engineroom.process import reaper

from ..reaped_process import ReapedProcess, describe_exit
from .logs import Log


class ContainerProcess(Protocol):
    """A container's process."""

    def end(self) -> None:
        """Ask for its end."""

    def freeze(self) -> None:
        """Stop it where it is."""

    def thaw(self) -> None:
        """Let it go on."""


MOST_PROCESSES = 32
"""How many containers this machine runs at once; the others wait for capacity."""


class Host(Protocol):
    """A machine that runs containers."""

    def has_room(self) -> bool:
        """Whether one more can be started."""

    def start(
        self, command: Sequence[str], environ: Mapping[str, str], log: Log, on_end: Callable[[int], None]
    ) -> ContainerProcess:
        """Start a process, which writes into a log.

        Args:
            on_end: called once with its exit code, whoever ended it.
        """


class LocalHost:
    """This machine. Every process ends when `close` is awaited, and also when the emulator is killed.

    Args:
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._tasks: set[asyncio.Task[None]] = set()
        self._processes: set[ReapedProcess] = set()

    def has_room(self) -> bool:
        return len(self._processes) < MOST_PROCESSES

    def start(
        self, command: Sequence[str], environ: Mapping[str, str], log: Log, on_end: Callable[[int], None]
    ) -> ContainerProcess:
        process = ReapedProcess(command, environ, self._grace, log.container)
        self._processes.add(process)
        task = asyncio.create_task(self._run(process, log, on_end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return process

    async def close(self) -> None:
        """End all processes, and wait until they have ended."""
        for process in self._processes:
            process.end()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _run(self, process: ReapedProcess, log: Log, on_end: Callable[[int], None]) -> None:
        try:
            code = await process.run()
        except OSError as error:
            log.system(f"the container cannot be started: {error}")
            code = reaper.NOT_STARTED
        self._processes.discard(process)
        log.system(f"the container ended with {describe_exit(code)}")
        on_end(code)
