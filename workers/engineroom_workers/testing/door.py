"""`engineroom serve` as a process of its own, as a user starts it."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import httpx

COMMAND = str(Path(sys.executable).with_name("engineroom"))


_PORTS = range(18_000, 32_000)
"""Ports below those that a system gives to whoever wants any. What is free here now is still free when somebody listens
there, which for a server that is yet to be started is seconds later."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, nor will be given by the system meanwhile."""
    for port in random.sample(_PORTS, 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class DoorProcess(Protocol):
    """What is used of a door's process, as `subprocess.Popen` has it."""

    pid: int

    @property
    def stderr(self) -> IO[Any] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def new_process(command: str, environ: Mapping[str, str]) -> DoorProcess:
    """`command serve` with exactly this environment."""
    return subprocess.Popen(
        [command, "serve"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


class Door:
    """A running door.

    log: what it has written so far.
    """

    def __init__(self, process: DoorProcess, port: int) -> None:
        self.process = process
        self._port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def ping(self) -> int:
        """The status of `/ping`; 0 where nobody answers.

        It is asked fifty times a second while a door starts: a client of httpx for each would cost more than the start.
        """
        asking = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            asking.request("GET", "/ping")
            return asking.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            asking.close()

    def until(self, status: int, seconds: float = 60) -> None:
        """Wait until `/ping` answers with `status`."""
        deadline = time.monotonic() + seconds
        while self.ping() != status:
            assert self.process.poll() is None or status == 0, f"it ended: {self.log}"
            assert time.monotonic() < deadline, f"no {status} from /ping in {seconds:g} s: {self.log}"
            time.sleep(0.02)

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=30).text

    def metric(self, name: str) -> float:
        return sum(float(line.split()[-1]) for line in self.metrics().splitlines() if line.startswith(name))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def says(self, text: str, seconds: float = 30) -> None:
        """Wait until `text` is in its log, which is read beside what it answers."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, f"no {text!r} in {seconds:g} s: {self.log}"
            time.sleep(0.02)

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(30)
        return code


@contextmanager
def serving(
    env: Mapping[str, str] | None = None,
    ready: bool = True,
    seconds: float = 60,
    command: str = COMMAND,
    start: Callable[[str, Mapping[str, str]], DoorProcess] = new_process,
) -> Iterator[Door]:
    """A door with the settings `env` beside this process's environment; killed at the end if it still runs.

    Args:
        env: PORT is a free one unless it is given.
        ready: whether to wait until the door answers 200 to `/ping`.
        seconds: how long to wait for that.
        command: the `engineroom` of another environment, in place of the one beside this Python.
        start: what starts `command serve` with an environment.
    """
    given = (env or {}).get("PORT", "")
    port = int(given) if given.isdigit() else free_port()
    # In a pod of Kubernetes it would serve on for a quarter of a minute at its end.
    process = start(command, {**os.environ, "LAME_DUCK": "0", "PORT": str(port), **(env or {})})
    door = Door(process, port)
    try:
        if ready:
            door.until(200, seconds)
        yield door
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        door._reader.join(5)
        assert process.stderr is not None
        process.stderr.close()
