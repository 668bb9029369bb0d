"""What benchmarks start, wait for and measure: processes, each with all those below it, and the machine itself."""

from __future__ import annotations

import http.client
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ENGINEROOM = str(Path(sys.executable).with_name("engineroom"))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], settings: Mapping[str, str] | None = None, log: Path | None = None, **pipes: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of a block.

    Args:
        settings: variables beside this process's own.
        log: where its output goes; nowhere by default.
        pipes: streams that go elsewhere, as `subprocess.Popen` takes them.
    """
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        # A benchmark that is stopped, by `timeout` or by its user, ends its processes, too.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with open(log or os.devnull, "wb") as file:
        options: dict[str, Any] = {"stdout": file, "stderr": file, **pipes}
        child = subprocess.Popen(command, env={**os.environ, **(settings or {})}, **options)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)


def status_of(url: str, headers: Mapping[str, str] | None = None) -> int:
    """The status of a GET; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return 0


def until(
    url: str,
    status: int = 200,
    seconds: float = 120,
    headers: Mapping[str, str] | None = None,
    child: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> float:
    """Poll `url` until it answers with `status`; the moment of that, as `time.perf_counter()` counts.

    Args:
        child: whose end ends the waiting.
        log: what is quoted where it does not come about.

    Raises:
        SystemExit: the process ended, or it took too long.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (child is None or child.poll() is None):
        if status_of(url, headers) == status:
            return time.perf_counter()
        time.sleep(0.005)
    quoted = f" ({log}):\n{log.read_text(errors='replace')[-2000:]}" if log is not None else ""
    raise SystemExit(f"{url} did not answer with {status} within {seconds:g} s{quoted}")


def machine() -> str:
    """What the figures depend on: cores, their kind, and Python's version."""
    return f"{os.cpu_count()} cores ({cpu_model()}), Python {platform.python_version()}"


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "?")


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


def tree_cpu_seconds(pid: int) -> float:
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
        # What ended meanwhile, and was waited for, was ours, too.
        ended = sum(psutil.Process().cpu_times()[2:4])
        return float(sum(now[:8]) - now.idle - now.iowait) - tree_cpu_seconds(os.getpid()) - ended


def cpu_seconds(pid: int) -> float:
    """CPU seconds of one process so far, to the nanosecond, with those of threads that have ended."""
    # Linux' clock of another process, as clock_getcpuclockid(3) gives it.
    return time.clock_gettime(~pid << 3 | 2)


def rss_mb(pid: int) -> float:
    """Resident memory of one process in MB."""
    return psutil.Process(pid).memory_info().rss / 2**20
