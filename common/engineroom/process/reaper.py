"""The reaper: a small process between the worker and an engine's process, which lets nothing outlive the worker.

    worker ──pipe──> reaper ──> engine's process ──> whatever it starts, in sessions of its own or not

The worker holds the pipe's other end; when the worker ends, however it ends, the pipe closes and the reaper ends
the engine: SIGTERM, a grace period, SIGKILL, then every descendant that is left. On Linux it is their subreaper
(prctl(2)), so it finds those that have left the process group, too. It exits with the engine's own exit code,
`-N` for a signal as 128 + N.

Run as a script with an isolated interpreter: it must import nothing but the standard library, and start fast.

    python -I reaper.py PIPE_FD GRACE_S [--remove GLOB | --remove-told GLOB]... -- COMMAND [ARG]...

It removes what matches GLOB when the engine has ended, and the shared memory that its processes had and nobody else
has; `--remove-told` only where it was told to end the engine, or
the worker is gone: a worker whose engine ended by itself may still want to read there, and removes it then.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NOT_STARTED = 127
"""Exit code when the command cannot be executed, as a shell's."""


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    pipe, grace = int(arguments[0]), float(arguments[1])
    options = list(zip(arguments[2:split:2], arguments[3:split:2], strict=True))
    prctl = _prctl()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    engine = _spawn(arguments[split + 1 :], pipe, prctl)
    status = _watch(engine, pipe, wake_read)
    shared = shared_memory(descendants(os.getpid()))
    told = status is None
    if status is None:
        _signal(engine, signal.SIGTERM)
        status = _wait(engine, grace)
    killed = _kill_descendants(engine)
    status = killed if status is None else status
    for path in shared - shared_memory(map(int, filter(str.isdigit, os.listdir("/proc")))) if shared else ():
        _remove(path)
    for option, pattern in options:
        if told or option == "--remove":
            for path in glob.glob(pattern):
                _remove(path)
    return 128 + signal.SIGKILL if status is None else _exit_code(status)


def _prctl() -> Callable[[int, int], object]:
    if not sys.platform.startswith("linux"):
        return lambda option, value: None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda option, value: libc.prctl(option, value, 0, 0, 0)


def _spawn(command: list[str], pipe: int, prctl: Callable[[int, int], object]) -> int:
    """Start the engine; its process id. Returns once it executes the command: a SIGTERM before that would be lost."""
    executing, told = os.pipe()
    pid = os.fork()
    if pid:
        os.close(told)
        os.read(executing, 1)
        os.close(executing)
        return pid
    try:
        os.close(pipe)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(NOT_STARTED)


def _watch(engine: int, pipe: int, wake: int) -> int | None:
    """The engine's wait status once it ends, or None as soon as it is to be ended."""
    while True:
        ready, _, _ = select.select([pipe, wake], [], [])
        if wake in ready:
            numbers = os.read(wake, 64)
            if (status := _reap(engine)) is not None:
                return status
            if any(number != signal.SIGCHLD for number in numbers):
                return None
        if pipe in ready:
            return None


def _reap(engine: int) -> int | None:
    """Reap whatever has ended; the engine's wait status if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == engine:
            found = status


def _wait(engine: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (status := _reap(engine)) is not None:
            return status
        time.sleep(0.01)
    return None


def _signal(engine: int, number: int) -> None:
    """To the engine's process group if there still is one: a shell or launcher may not pass signals on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine, number)


def _kill_descendants(engine: int) -> int | None:
    """Kill what is left, again until nothing is: a dying process may just have forked.

    The dead are the reaper's to reap: where the worker is process 1, nobody else would. The engine's wait status if
    it was among them.
    """
    status = None
    _signal(engine, signal.SIGKILL)
    for _ in range(100):
        left = descendants(os.getpid())
        reaped = _reap(engine)
        status = reaped if reaped is not None else status
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return status


def descendants(root: int) -> list[int]:
    """All living descendants, from /proc; empty where there is none."""
    children: dict[int, list[int]] = {}
    for entry in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(entry, "rb") as file:
            head, _, tail = file.read().rpartition(b")")
            state, parent = tail.split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(head.split()[0]))
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def shared_memory(processes: Iterable[int]) -> set[str]:
    """Files in shared memory that these processes have mapped: their creators unlink them, unless they are killed."""
    found: set[str] = set()
    for process in processes:
        with contextlib.suppress(OSError), open(f"/proc/{process}/maps", "rb") as maps:
            paths = [line[at + 1 :].rstrip() for line in maps if (at := line.find(b" /dev/shm/")) >= 0]
            found.update(os.fsdecode(path) for path in paths if not path.endswith(b" (deleted)"))
    return found


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
