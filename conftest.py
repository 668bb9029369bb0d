"""What all tests share."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Serve = Callable[..., str]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio only: it is what the worker runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`serve(ENGINE="echo", …)`: `engineroom serve` as a process of its own with these settings; gives its URL.

    The same settings give the same server. All end with the session.
    """
    folder = tmp_path_factory.mktemp("serve")
    urls: dict[tuple[tuple[str, str], ...], str] = {}
    processes: list[subprocess.Popen[bytes]] = []

    def start(**settings: str) -> str:
        key = tuple(sorted(settings.items()))
        if key not in urls:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            log = folder / f"{port}.log"
            with log.open("wb") as output:
                command = [str(Path(sys.executable).with_name("engineroom")), "serve"]
                environ = {**os.environ, **settings, "HOST": "127.0.0.1", "PORT": str(port)}
                processes.append(
                    subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
                )
            urls[key] = f"http://127.0.0.1:{port}"
            _await_ready(urls[key], processes[-1], log)
        return urls[key]

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url + "/ping", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        said = f"it said:\n{log.read_text(errors='replace')}"
        assert process.poll() is None, f"the server ended; {said}"
        assert time.monotonic() < deadline, f"the server was not ready in time; {said}"
        time.sleep(0.05)
