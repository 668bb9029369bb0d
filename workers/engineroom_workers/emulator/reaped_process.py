"""One worker's process under a reaper of its own, which ends with the emulator, also when that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from engineroom.process import descendants, reaper

MAX_LINE = 64 * 1024
"""The longest line of output in one piece; what is longer comes in pieces."""


class ReapedProcess:
    """A command with an environment of its own. `run` starts it and waits for its end; `end` asks for that.

    Args:
        command: what to run.
        environ: its environment, whole.
        grace: seconds between SIGTERM and SIGKILL.
        on_line: called with every line of its output; with None it writes where the emulator does.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        grace: float,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.ended_by_us = False
        self._command = command
        self._environ = environ
        self._grace = grace
        self._on_line = on_line
        self._pipe: int | None = None
        """Our end of the pipe to the reaper; closing it ends the process."""
        self._pid: int | None = None
        self._frozen = False

    async def run(self) -> int:
        """Run it to its end; its exit code, 128 + N for a signal, or 127 where it cannot be run."""
        if self.ended_by_us:
            return 0
        reaper_pipe, self._pipe = os.pipe()
        arguments = ["-I", reaper.__file__, str(reaper_pipe), str(self._grace), "--", *self._command]
        piped = self._on_line is not None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if piped else None,
                stderr=asyncio.subprocess.STDOUT if piped else None,
                env=self._environ,
                pass_fds=(reaper_pipe,),
                start_new_session=True,
                limit=MAX_LINE,
            )
        finally:
            os.close(reaper_pipe)
        self._pid = process.pid
        reading = asyncio.create_task(self._read(process.stdout)) if process.stdout is not None else None
        code = await process.wait()
        self._pid = None
        self._close_pipe(reaper.STOP)
        if reading is not None:
            await reading
        return code

    def end(self) -> None:
        """Ask for its end: SIGTERM, `grace` seconds, SIGKILL, then whatever it started. A second call does nothing."""
        self.ended_by_us = True
        self.thaw()
        self._close_pipe(reaper.STOP)

    def freeze(self) -> None:
        """Stop the process and all that it started where they are, until `thaw`. The reaper goes on."""
        self._frozen = self._signal_descendants(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        if self._frozen:
            self._frozen = False
            self._signal_descendants(signal.SIGCONT)

    def _signal_descendants(self, number: signal.Signals) -> bool:
        """Send them a signal; whether there is a process."""
        if self._pid is None:
            return False
        for pid in descendants(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return True

    def _close_pipe(self, what: bytes) -> None:
        if self._pipe is not None:
            reaper.ask(self._pipe, what)
            self._pipe = None

    async def _read(self, output: asyncio.StreamReader) -> None:
        assert self._on_line is not None
        while line := await _read_line(output):
            self._on_line(line.decode(errors="replace").rstrip("\r\n"))


async def _read_line(output: asyncio.StreamReader) -> bytes:
    """The next line, or as much of it as there is room for; empty at the end."""
    try:
        return await output.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await output.readexactly(max(error.consumed, 1))


def describe_exit(code: int) -> str:
    """An exit code of the reaper in words."""
    if code == reaper.NOT_STARTED:
        return "code 127: the command cannot be run"
    if code > 128:
        try:
            return signal.Signals(code - 128).name
        except ValueError:
            return f"code {code}"
    return f"code {code}"
