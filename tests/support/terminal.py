"""A program on a terminal of its own: what a person sees there as text, and the keys that they press."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence

_SEQUENCES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>])")

_OF_A_TERMINAL = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}


class Terminal:
    """Runs a command on a pseudo-terminal; a context, at whose end the command and what it started are killed.

    Args:
        environ: its whole environment; this process's by default. prompt_toolkit is told that nobody answers where the
            cursor is.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None, columns: int = 80, lines: int = 24
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={
                **(os.environ if environ is None else environ),
                "TERM": "xterm-256color",
                "PROMPT_TOOLKIT_NO_CPR": "1",
            },
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.raw = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self._reader.join(5)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            self.raw += data.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """All that was written so far, without what steers the terminal."""
        return _SEQUENCES.sub("", self.raw)

    def type(self, keys: str) -> None:
        """Press keys; `\\r` is Enter, `\\x03` Ctrl-C, `\\x04` Ctrl-D."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Another size of the window; the system tells the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, text: str, since: int = 0, seconds: float = 60) -> int:
        """Wait until `text` is there, in what has been written after `since`; where it ends, by `len(self.text)`."""
        deadline = time.monotonic() + seconds
        while (at := self.text.find(text, since)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {seconds:g} s: {self.text[since:][-3000:]}"
            time.sleep(0.02)
        return at + len(text)

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code
