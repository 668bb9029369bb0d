"""A Python that has imported what every `engineroom` imports, and is forked for each that a test wants.

Two thirds of a start's CPU time are imports, and the tests start hundreds of doors to ask them something that has
nothing to do with the start. A fork is a door like any other: a process of its own, with its own environment, files,
signals and end. What it cannot show is that a start imports what it needs; the tests of starts use a new Python.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TextIO

COMMAND = str(Path(sys.executable).with_name("engineroom"))

_IMPORTED = (
    "aiohttp",
    "aiohttp_retry",
    "backoff",
    "engineroom.commands.command_line",
    "engineroom.commands.config",
    "engineroom.commands.engines",
    "engineroom.jobs",
    "engineroom.openai.serving.app",
    "engineroom.plugins",
    "engineroom_echo.engine",
    "engineroom_fastdeploy.engine",
    "engineroom_llamacpp.engine",
    "engineroom_max.engine",
    "engineroom_ollama.engine",
    "engineroom_openvino.engine",
    "engineroom_sglang.engine",
    "engineroom_transformers.engine",
    "engineroom_operations.bench.run",
    "engineroom_operations.chat.run",
    "engineroom_operations.fit.report",
    "engineroom_operations.top.run",
    "engineroom_upstream.engine",
    "engineroom_vllm.engine",
    "engineroom_workers.emulator.command",
    "engineroom_workers.http.command",
    "engineroom_workers.http.metrics.registry",
    "engineroom_workers.http.options",
    "engineroom_workers.http.run",
    "engineroom_workers.http.server",
    "engineroom_workers.http.stack",
    "engineroom_workers.ray.settings",
    "engineroom_workers.runpod.command",
    "engineroom_workers.runpod.worker",
    "engineroom_workers.start",
    "httpx",
    "paramiko",
    "prompt_toolkit",
    "requests",
    "rich.live",
    "rich.progress",
    "rich.table",
    "stevedore.driver",
    "tomlkit",
    "tqdm_loggable.auto",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
"""Nothing that reads the environment as it is imported, as huggingface_hub and RunPod's SDK do. Most of the SDK's time
goes into what it imports itself, which does not."""
_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")
_COERCED = frozenset({"C", "POSIX", "C.utf8"})
"""Locales that Python takes for C.UTF-8."""
_WITHOUT_EFFECT = frozenset({"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"})
_NUMBER = struct.Struct("i")
_LARGEST_ORDER = 1 << 20


class Forked:
    """A process that was forked from a prepared Python; `subprocess.Popen`'s part of it that tests use.

    stderr: what it writes there, where that is a pipe of the test's.
    """

    stderr: IO[str] | None = None

    def __init__(self, pid: int, ended: socket.socket, arguments: Sequence[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._arguments = arguments
        self._ended = ended
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code, negative for the signal that ended it.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `timeout` seconds.
        """
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["engineroom", *self._arguments], timeout or 0)
            with self._lock:
                if self.returncode is None:
                    (self.returncode,) = _NUMBER.unpack(self._ended.recv(_NUMBER.size))
                    self._ended.close()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """It and what it started, also where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(30)


class PreparedPython:
    """Starts it at the first fork that is asked for; it ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: socket.socket | None = None
        self._environ = dict(os.environ)

    def suits(self, environ: Mapping[str, str]) -> bool:
        """Whether a fork would be what a new Python is: nothing in `environ` changes how Python itself starts."""
        return sys.platform == "linux" and _of_python_itself(environ) == _of_python_itself(self._environ)

    def fork(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        streams: tuple[int, int, int],
        folder: Path | None = None,
        script: Path | None = None,
    ) -> Forked:
        """`engineroom` with these arguments, exactly this environment and these three standard streams, in a group of
        its own.

        Args:
            folder: where it runs; here by default.
            script: a Python file that runs in place of `engineroom`.
        """
        order = {
            "arguments": [*arguments],
            "environ": {**environ},
            "folder": str(folder or Path.cwd()),
            "script": script and str(script),
        }
        ended, telling = socket.socketpair()
        with telling, self._lock:
            socket.send_fds(self._start(), [json.dumps(order).encode()], [*streams, telling.fileno()])
        (pid,) = _NUMBER.unpack(ended.recv(_NUMBER.size))
        return Forked(pid, ended, arguments)

    def _start(self) -> socket.socket:
        if self._orders is None:
            self._orders, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with its_end:
                number = its_end.fileno()
                command = [sys.executable, __file__, str(number)]
                subprocess.Popen(command, env=self._environ, stdin=subprocess.DEVNULL, pass_fds=[number])
        return self._orders


def _of_python_itself(environ: Mapping[str, str]) -> Mapping[str, str | None]:
    """The variables that decide how Python starts."""
    own = {name: value for name, value in environ.items() if name.startswith("PYTHON") and name not in _WITHOUT_EFFECT}
    locale = next((environ[name] for name in _LOCALE if environ.get(name)), "C")
    return {**own, "TZ": environ.get("TZ"), "locale": "C.UTF-8" if locale in _COERCED else locale}


PREPARED = PreparedPython()
"""The one of this test process."""


def engineroom(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: str = "",
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """`engineroom` with these arguments to its end, as `subprocess.run` gives it.

    Args:
        environ: its whole environment; this process's by default.
        folder: where it runs; here by default.
        given: its standard input.
        seconds: how long that may take.
    """
    whole = {**(os.environ if environ is None else environ)}
    if not PREPARED.suits(whole):
        return subprocess.run(
            [COMMAND, *arguments],
            env=whole,
            cwd=folder,
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        stdin.write(given)
        stdin.seek(0)
        process = PREPARED.fork(arguments, whole, (stdin.fileno(), stdout.fileno(), stderr.fileno()), folder)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(["engineroom", *arguments], code, stdout.read(), stderr.read())


def started(*arguments: str, environ: Mapping[str, str]) -> tuple[Forked | subprocess.Popen[str], IO[str]]:
    """`engineroom` with these arguments and exactly this environment, and what it writes."""
    if not PREPARED.suits(environ):
        process = subprocess.Popen(
            [COMMAND, *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        return process, process.stdout
    reading, writing = os.pipe()
    with open(os.devnull) as nothing, open(writing, "wb") as output:
        fork = PREPARED.fork(arguments, environ, (nothing.fileno(), output.fileno(), output.fileno()))
    return fork, open(reading, encoding="utf-8", errors="replace")


def prepare(orders: socket.socket) -> None:
    """Import, then fork for every order, until whoever gives them has ended."""
    for module in _IMPORTED:
        # An environment may lack a library of a door that nobody starts there.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    _look_up_what_is_installed()
    gc.collect()
    gc.freeze()
    ending, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders, ending], [], [])
        if ending in ready:
            os.read(ending, 65536)
            _tell_who_ended(running)
        if orders in ready:
            order, given, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, 4)
            if not order:
                _kill(running)
                return
            *streams, telling = given
            pid = os.fork()
            if not pid:
                orders.close()
                for number in (ending, wake, telling, *running.values()):
                    os.close(number)
                _become(json.loads(order), streams)
            os.write(telling, _NUMBER.pack(pid))
            for number in streams:
                os.close(number)
            running[pid] = telling


def _look_up_what_is_installed() -> None:
    """Every process does that once: it reads a file of each distribution, and with a new home stevedore does again."""
    from engineroom import plugins
    from engineroom.errors import PluginError

    with contextlib.suppress(PluginError):
        plugins.load_engine("echo")


def _kill(running: Mapping[int, int]) -> None:
    """End what outlived whoever gave the orders, as where a run of tests is killed."""
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _tell_who_ended(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        telling = running.pop(pid)
        with contextlib.suppress(OSError):
            os.write(telling, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(telling)


def _become(order: dict[str, Any], streams: Sequence[int]) -> None:
    """Be `engineroom`, as if this Python had just been started for it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["folder"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = _open(sys.stdin)
    sys.stdout = _open(sys.stdout)
    sys.stderr = _open(sys.stderr)
    sys.argv = [order["script"] or "engineroom", *order["arguments"]]
    try:
        _run(order["script"])
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _end(ended.code)
        raise


def _run(script: str | None) -> None:
    if script:
        runpy.run_path(script, run_name="__main__")
        sys.exit(0)

    from engineroom.cli import main

    main()


def _end(code: int) -> None:
    """End as a Python does, up to where it takes apart every module: that would copy all memory that a fork shares, and
    take a third of the CPU time of a door. `multiprocessing` leaves it out for its forks, too.

    Returns:
        where what was written cannot be: Python says that itself.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def _open(stream: TextIO) -> TextIO:
    """The same stream anew, as Python opens it at its start: its file may be a terminal now, or none any more."""
    number = stream.fileno()
    by_lines = number == 2 or (number == 1 and os.isatty(number))
    mode = "w" if number else "r"
    return open(number, mode, 1 if by_lines else -1, stream.encoding, stream.errors, closefd=False)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        prepare(given)
