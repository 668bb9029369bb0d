"""The HTTP door in front of the raw source, as in front of an engine's server.

python source_engine.py PORT
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from engineroom.engine import Route
from engineroom.server import Address, ServerEngine
from engineroom.settings import Environment, SettingsGroup, WorkerSettings


class SourceEngine(ServerEngine):
    """Not an engine: it only streams events."""

    name = "source"
    summary = "Streams events; for benchmarks."
    routes = frozenset({Route("POST", "/v1/chat/completions")})
    metrics_path = None
    defaults: ClassVar[dict[str, str]] = {"MODEL_NAME": "source"}
    transport = "unix"

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return ()

    @classmethod
    def configure(cls, worker: WorkerSettings, env: Environment) -> SourceEngine:
        return cls(worker)

    def command(self, address: Address) -> Sequence[str]:
        return (sys.executable, str(Path(__file__).parents[1] / "source.py"), address.unix or str(address.port))
