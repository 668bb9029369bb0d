"""One child process: it runs under the reaper, which cleans up after it, and the last lines of its output are kept."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import EngineStartError
from ..timeouts import timeout
from ..watchdog import Activity
from . import reaper
from .activity import read_activity
from .memory import read_memory
from .output import Folding, LogFormat, LogReader
from .reaper import KILL, NOT_STARTED, STOP

_ORDINARY_LINES = 200
_OTHER_LINES = 2000
_LONGEST_LINE = 8192
_LAST_OUTPUT_S = 5
"""Seconds for the last of its output once it has ended: a busy machine may be late to read it."""


class _KeptLine(NamedTuple):
    """A line, its place among all lines, and when it was written (`time.monotonic`)."""

    number: int
    at: float
    text: str


class Process:
    """A running child. Make one with `Process.spawn`.

    What it writes is logged with the level that each line has. Lines that repeat themselves are folded.
    """

    def __init__(
        self,
        reaper: asyncio.subprocess.Process,
        pipe: int,
        name: str,
        log: bool,
        grace: float,
        log_format: LogFormat,
        ignored: str,
    ) -> None:
        self._reaper = reaper
        self._pipe: int | None = pipe
        self._grace = grace
        self._ignored = ignored
        self._logger = logging.getLogger(f"engine.{name}") if log else None
        self._lines = LogReader(log_format)
        self._folding = Folding(self._keep)
        self._count = 0
        # Of a program that goes on talking for minutes after its error, the error must not be what is forgotten.
        self._ordinary: deque[_KeptLine] = deque(maxlen=_ORDINARY_LINES)
        self._others: deque[_KeptLine] = deque(maxlen=_OTHER_LINES)
        self._reader = asyncio.ensure_future(self._read())
        self._ended = asyncio.ensure_future(reaper.wait())

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        *,
        name: str,
        environ: Mapping[str, str] | None = None,
        directory: str | Path | None = None,
        grace: float = 10,
        remove: Sequence[str] = (),
        remove_if_stopped: Sequence[str] = (),
        log: bool = True,
        log_format: LogFormat | None = None,
        ignored: str = "",
    ) -> Process:
        """Start `command` in a session of its own.

        Args:
            name: the end of the logger's name, `engine.<name>`.
            environ: the child's whole environment; this process's own by default.
            directory: the child's working directory; this process's own by default.
            grace: seconds between SIGTERM and SIGKILL when it is stopped.
            remove: glob patterns of files and folders to delete once it has ended.
            remove_if_stopped: the same, but if the child ends by itself, the caller may read them and must delete them.
            log: whether its output is also logged.
            log_format: how it begins its lines, beside what is usual.
            ignored: lines with this text are neither kept nor logged: what it notes of our own health checks.

        Raises:
            EngineStartError: the reaper cannot be started. A command that cannot be is seen by `not_found`.
        """
        pipe_read, pipe_write = os.pipe()
        arguments = ["-I", str(Path(__file__).with_name("reaper.py")), str(pipe_read), str(grace)]
        for pattern in remove:
            arguments += ["--remove", pattern]
        for pattern in remove_if_stopped:
            arguments += ["--remove-if-stopped", pattern]
        try:
            reaper = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                "--",
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(os.environ if environ is None else environ),
                cwd=directory,
                pass_fds=(pipe_read,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(pipe_write)
            raise EngineStartError(f"cannot start a process: {error}") from error
        finally:
            os.close(pipe_read)
        return cls(reaper, pipe_write, name, log, grace, log_format or LogFormat(), ignored)

    @property
    def tail(self) -> list[str]:
        """The last lines it wrote to stdout and stderr, oldest first: 200 of its log's ordinary lines (DEBUG and INFO),
        2000 of all others. Repeated lines are folded."""
        return self.last_lines(None)

    def last_lines(self, seconds: float | None) -> list[str]:
        """Those of `tail` that it wrote in the last `seconds`; all with None."""
        since = 0.0 if seconds is None else time.monotonic() - seconds
        return [line.text for line in heapq.merge(self._ordinary, self._others) if line.at >= since]

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        code = self._reaper.returncode
        if code is None or code <= 128:
            return code
        # The reaper says 128 + N for signal N.
        return 128 - code

    @property
    def not_found(self) -> bool:
        """Whether the command could not be executed at all."""
        return self.returncode == NOT_STARTED

    async def wait(self) -> int:
        """Wait for its end and for the last of its output; the exit code, negative for a signal."""
        await asyncio.shield(self._ended)
        await asyncio.wait({self._reader}, timeout=_LAST_OUTPUT_S)
        assert self.returncode is not None
        return self.returncode

    async def stop(self) -> None:
        """Stop the child and everything that it started: SIGTERM, `grace` seconds, SIGKILL. Idempotent.

        Returns when all of them are gone.
        """
        self._close(STOP)
        try:
            async with timeout(self._grace + 10):
                await asyncio.shield(self._ended)
        except asyncio.TimeoutError:
            self._signal(signal.SIGKILL)
            await self._ended
        await asyncio.wait({self._reader}, timeout=_LAST_OUTPUT_S)
        self._reader.cancel()

    def kill(self) -> None:
        """Kill the child and everything that it started, at once; `wait` returns when all of them are gone.

        This also works on processes that are stopped (SIGSTOP), and where the reaper is.
        """
        self._close(KILL)

    def _close(self, what: bytes) -> None:
        """Ask the reaper for the child's end, once."""
        if self._pipe is None:
            return
        reaper.ask(self._pipe, what)
        self._pipe = None
        # Whoever stopped the child may have stopped its reaper, too.
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Send the reaper a signal, if it is there.

        Not by asyncio's own `send_signal`: that asks the system first whether the process has ended, and if it just
        has, takes its exit code, which asyncio then waits for in vain and reports as 255.
        """
        if self._reaper.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._reaper.pid, number)

    def activity(self, generating: str = "") -> Activity | None:
        """What the child and all that it started have done so far; None where the system has no /proc.

        Args:
            generating: see `read_activity`.
        """
        return read_activity(self._reaper.pid, generating)

    def memory(self) -> int | None:
        """Resident bytes of the child and all that it started; None where the system has no /proc."""
        return read_memory(self._reaper.pid)

    async def _read(self) -> None:
        assert self._reaper.stdout is not None
        rest = b""
        while chunk := await self._reaper.stdout.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if len(rest) > _LONGEST_LINE:
                self._take(rest)
                rest = b""
        if rest:
            self._take(rest)
        self._folding.flush()

    def _take(self, line: bytes) -> None:
        # A progress bar draws itself over and over with carriage returns: its last picture counts.
        pictures = line[-_LONGEST_LINE:] if b"\r" in line else line[:_LONGEST_LINE]
        text = pictures.rstrip(b"\r\n").rpartition(b"\r")[2].decode("utf-8", "replace").rstrip()
        if not text or (self._ignored and self._ignored in text):
            return
        shown = self._lines.without_content(text)
        if shown != text and self._logger is not None:
            self._logger.debug(text)
        if shown:
            self._folding.add(self._lines.read(shown), shown)

    def _keep(self, level: int, text: str) -> None:
        self._count += 1
        lines = self._ordinary if level <= logging.INFO else self._others
        lines.append(_KeptLine(self._count, time.monotonic(), text))
        if self._logger is not None:
            self._logger.log(level, text)
