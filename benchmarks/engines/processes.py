"""The worker's process with all those below it: started, ready, measured, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], settings: Mapping[str, str], log: Path, **pipes: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of a block; what it says goes to the file `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        options: dict[str, Any] = {"stdout": file, "stderr": file, **pipes}
        child = subprocess.Popen(command, env={**os.environ, **settings}, **options)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)


def until_ready(port: int, child: subprocess.Popen[bytes], log: Path, seconds: float = 1200) -> None:
    """Wait for the door's /ping to answer 200.

    Raises:
        SystemExit: its process ended, or it took too long; quotes the end of its log.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and child.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.02)
    raise SystemExit(f"not ready ({log}):\n{log.read_text(errors='replace')[-2000:]}")


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def signal_all(pid: int, number: signal.Signals) -> None:
    """To each process of the tree; SIGSTOP from the top, so that none starts another meanwhile."""
    for one in _tree(pid):
        one.send_signal(number)


@contextmanager
def alone(pid: int, others: Sequence[int]) -> Iterator[None]:
    """Stops the other trees for the length of a block: some engines are busy even when nobody asks them anything."""
    for other in others:
        if other != pid:
            signal_all(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            signal_all(other, signal.SIGCONT)


def memory_mb(pid: int) -> float:
    """Proportional set size of the whole tree: a page that its processes share counts once."""
    return float(sum(one.memory_full_info().pss for one in _tree(pid))) / 2**20


def cpu_seconds(pid: int) -> float:
    """CPU seconds that the tree has used so far, to 10 ms a process."""
    return sum(sum(one.cpu_times()[:2]) for one in _tree(pid))


class Others:
    """How much of the machine others than this process and those below it used: `with Others() as o: …; o.share`."""

    share = 0.0

    def __enter__(self) -> Others:
        self._before, self._began = self._used(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        self.share = max(0.0, self._used() - self._before) / seconds / (os.cpu_count() or 1)

    def _used(self) -> float:
        now = psutil.cpu_times()
        return float(sum(now[:8]) - now.idle - now.iowait) - cpu_seconds(os.getpid())
