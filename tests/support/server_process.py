"""Real servers of other people as processes, and waiting for what they and the worker come to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until `condition()` holds; it is looked at fifty times a second."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in {seconds:g} s"
        time.sleep(0.02)


@contextlib.contextmanager
def process_groups() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes as `subprocess.Popen` does, each in a group of its own; the groups are killed at the end.

    So nothing outlives a test that a process has started and not ended.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*arguments, start_new_session=True, **options))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


class ServerProcess:
    """A server, from its start until `stop()`.

    Args:
        command: starts it in the foreground.
        log: the file that it writes to.
        environ: its whole environment; this process's by default.
        folder: where it runs; here by default.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> None:
        self._log = log
        with log.open("a") as file:
            self._process = subprocess.Popen(command, env=environ, cwd=folder, stdout=file, stderr=file)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def until(self, condition: Callable[[], object], seconds: float = 60, every: float = 0.02) -> None:
        """Wait until `condition()` holds while the server runs; the condition may fail to connect.

        Args:
            every: seconds between two looks.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process.poll() is None, f"it ended:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"not within {seconds:g} s:\n{self.log[-3000:]}"
            time.sleep(every)

    def until_listening(self, port: int) -> None:
        """Wait until it takes connections on a port of 127.0.0.1."""
        self.until(lambda: _listens(port))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without giving it time for anything."""
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """End it, by force where it takes more than fifteen seconds."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
