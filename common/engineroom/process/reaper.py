"""The reaper: a small process between the worker and an engine's process, which lets nothing outlive the worker.

    worker ──pipe──> reaper ──> engine's process ──> whatever it starts, in sessions of its own or not

The worker holds the other end of the pipe. However the worker ends, the pipe closes then, and the reaper stops the
engine: SIGTERM, a grace period, SIGKILL, then SIGKILL for every descendant that is left. If the worker asks for that
(`ask`), the period is GRACE_S; if it is gone, nobody waits for what the engine might still finish, and it is short.
On Linux the reaper is their subreaper (prctl(2)), so it also finds those that have left the process group. It exits
with the engine's own exit code, with 128 + N for signal N.

It runs as a script in an isolated interpreter, so it imports nothing but the standard library, and it starts fast.

    python -I reaper.py PIPE_FD GRACE_S [--remove GLOB | --remove-if-stopped GLOB]... -- COMMAND [ARG]...

When the engine has ended, the reaper removes what matches each `--remove GLOB`, and the shared memory that the
engine's processes had mapped and nobody else has. It removes what matches `--remove-if-stopped GLOB` only if the
worker stopped the engine or is gone: if the engine ended by itself, the worker may still read there, and removes it
afterwards.

A worker whose engine hangs writes `KILL` into the pipe before it closes it: there is no grace period then.
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
"""Exit code if the command cannot be executed, as a shell's."""

STOP = b"."
"""What the worker writes to have the engine stopped."""

KILL = b"k"
"""What the worker writes to have the engine killed at once."""

ORPHAN_GRACE_S = 3
"""The grace period at most, where the worker has ended without asking for the engine's end."""

SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What wakes the reaper: a child that ended, and whatever asks it to stop."""


def main(arguments: list[str]) -> int:
    """Run the engine to its end and clean up; the exit code."""
    separator = arguments.index("--")
    pipe = int(arguments[0])
    grace = float(arguments[1])
    removals = list(zip(arguments[2:separator:2], arguments[3:separator:2], strict=True))
    command = arguments[separator + 1 :]

    prctl = _prctl()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)

    engine = _spawn(command, pipe, prctl)
    status = _watch(engine, pipe, wake_read)
    stopped = status is None
    # What the engine's processes have mapped can be seen only as long as they live.
    mapped = shared_memory(descendants(os.getpid()))
    asked = _asked(pipe)
    if status is None and asked != KILL:
        _signal_group(engine, signal.SIGTERM)
        # A process that is stopped (SIGSTOP) sees no other signal until it goes on.
        _signal_group(engine, signal.SIGCONT)
        status = _wait(engine, min(grace, ORPHAN_GRACE_S) if asked == b"" else grace)
    status_when_killed = _kill_descendants(engine)
    if status is None:
        status = status_when_killed

    if mapped:
        for path in mapped - shared_memory(_all_processes()):
            _remove(path)
    for option, pattern in removals:
        if stopped or option == "--remove":
            for path in glob.glob(pattern):
                _remove(path)
    return 128 + signal.SIGKILL if status is None else _exit_code(status)


def _prctl() -> Callable[[int, int], object]:
    """prctl(2) with two arguments; it does nothing where there is none."""
    if not sys.platform.startswith("linux"):
        return lambda option, value: None
    libc = ctypes.CDLL(None, use_errno=True)
    return lambda option, value: libc.prctl(option, value, 0, 0, 0)


def _spawn(command: list[str], pipe: int, prctl: Callable[[int, int], object]) -> int:
    """Start the engine; its process id. Returns once it executes the command: a SIGTERM before that would be lost."""
    # Both ends close when the command is executed. The read returns then, with nothing.
    exec_read, exec_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(exec_write)
        os.read(exec_read, 1)
        os.close(exec_read)
        return pid
    try:
        os.close(pipe)
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(NOT_STARTED)


def _watch(engine: int, pipe: int, wake: int) -> int | None:
    """Wait until the engine ends, and return its wait status, or until it is to be stopped, and return None."""
    while True:
        readable, _, _ = select.select([pipe, wake], [], [])
        if wake in readable:
            numbers = os.read(wake, 64)
            status = _reap(engine)
            if status is not None:
                return status
            if any(number != signal.SIGCHLD for number in numbers):
                return None
        if pipe in readable:
            return None


def ask(pipe: int, what: bytes) -> None:
    """Ask the reaper at the other end of the pipe to stop or to kill its engine, and close this end."""
    with contextlib.suppress(OSError):  # It may have ended.
        os.write(pipe, what)
    os.close(pipe)


def _asked(pipe: int) -> bytes | None:
    """What the worker asks for; empty where it is gone, None where it says nothing."""
    readable, _, _ = select.select([pipe], [], [], 0)
    return os.read(pipe, 1) if readable else None


def _reap(engine: int) -> int | None:
    """Reap every child that has ended; the engine's wait status if it is among them."""
    engine_status = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return engine_status
        if pid == 0:
            return engine_status
        if pid == engine:
            engine_status = status


def _wait(engine: int, seconds: float) -> int | None:
    """Wait for the engine's end; its wait status, or None if the time was up first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = _reap(engine)
        if status is not None:
            return status
        time.sleep(0.01)
    return None


def _signal_group(engine: int, number: int) -> None:
    """Send a signal to the engine's whole process group: a shell or launcher may not pass signals on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine, number)


def _kill_descendants(engine: int) -> int | None:
    """Kill all descendants, again and again until none is left: a dying process may just have forked.

    The reaper also reaps them: where the worker is process 1, nobody else would.

    Returns:
        The engine's wait status if it was among them.
    """
    engine_status = None
    _signal_group(engine, signal.SIGKILL)
    for _ in range(100):
        remaining = descendants(os.getpid())
        status = _reap(engine)
        if status is not None:
            engine_status = status
        if not remaining:
            break
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return engine_status


def descendants(root: int) -> list[int]:
    """The ids of all living descendants of a process, from /proc; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for process in _all_processes():
        with contextlib.suppress(OSError):  # It may just have ended.
            # `pid (name) state parent ...`, see proc_pid_stat(5); the name may hold anything.
            state, parent = _stat(process).rpartition(b")")[2].split(maxsplit=2)[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(process)
    result: list[int] = []
    pending = [root]
    while pending:
        own_children = children.get(pending.pop(), [])
        result += own_children
        pending += own_children
    return result


def _stat(process: int) -> bytes:
    """/proc/PID/stat by three system calls: a file object takes ten, and there are as many files as processes."""
    file = os.open(f"/proc/{process}/stat", os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)


def shared_memory(processes: Iterable[int]) -> set[str]:
    """The files in shared memory that these processes have mapped.

    Processes unlink what they created there, unless they are killed.
    """
    result: set[str] = set()
    for process in processes:
        with contextlib.suppress(OSError), open(f"/proc/{process}/maps", "rb") as maps:
            for line in maps:
                start = line.find(b" /dev/shm/")
                path = line[start + 1 :].rstrip()
                if start >= 0 and not path.endswith(b" (deleted)"):
                    result.add(os.fsdecode(path))
    return result


def _all_processes() -> list[int]:
    """The ids of all processes; empty where there is no /proc."""
    with contextlib.suppress(FileNotFoundError):
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return []


def _remove(path: str) -> None:
    """Remove a file or a folder, if it is there."""
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
