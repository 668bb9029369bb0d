"""A real Redis for tests, on a free port; tests that need one skip where the program is not installed."""

from __future__ import annotations

import signal
from pathlib import Path

from http_door import free_port
from programs import need
from server_process import ServerProcess


class RedisServer:
    """A Redis that can be stopped and started again on its port."""

    def __init__(self, folder: Path) -> None:
        need("redis-server", "--version")
        self._folder = folder
        self._port = free_port()
        self._process: ServerProcess | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = ServerProcess(["redis-server", *options], self._folder / "redis.log")
        self._process.until_listening(self._port)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.signal(number)

    def stop(self) -> None:
        """End it at once, as a machine does that is gone."""
        if self._process is not None:
            self._process.kill()
            self._process = None
