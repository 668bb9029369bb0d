"""A ServerEngine around the stand-in server, for tests of the base class."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from engineroom.engine import Route
from engineroom.server import Address, ServerEngine
from engineroom.settings import Environment, SettingsGroup, WorkerSettings

SERVER = Path(__file__).with_name("server.py")


class StandinEngine(ServerEngine):
    """`arguments` are the stand-in server's own."""

    name = "standin"
    routes = frozenset(
        {Route("POST", "/v1/chat/completions"), Route("GET", "/v1/models"), Route("GET", "/v1/things/*")}
    )

    def __init__(
        self, *arguments: str, transport: Literal["unix", "tcp"] = "unix", command: Sequence[str] = (), **worker: object
    ) -> None:
        self.transport = transport  # type: ignore[misc]
        self._arguments = arguments
        self._command = command
        super().__init__(
            WorkerSettings.load(
                Environment.of({"MODEL_NAME": "org/model", "STOP_TIMEOUT": 2, "START_TIMEOUT": 30, **worker})
            )
        )

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return ()

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> StandinEngine:
        return cls()

    def command(self, address: Address) -> Sequence[str]:
        where = ("--unix", address.unix) if address.unix else ("--port", str(address.port))
        return self._command or (sys.executable, str(SERVER), *where, *self._arguments)

    def explain_exit(self, returncode: int, log: Sequence[str]) -> str | None:
        return next((line for line in log if "CUDA" in line or "unrecognised" in line), None)
