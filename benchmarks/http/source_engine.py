"""The HTTP door in front of the raw source, as in front of an engine's server.

python source_engine.py PORT
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from engineroom.engine import Route
from engineroom.environment import Environment
from engineroom.server import Address, ServerEngine
from engineroom.settings import SettingsGroup, WorkerSettings


class SourceEngine(ServerEngine):
    """Not an engine: it only streams events."""

    name = "source"
    routes = frozenset({Route("POST", "/v1/chat/completions")})
    metrics_path = None

    @classmethod
    def settings(cls, env: Environment) -> tuple[SettingsGroup, ...]:
        return ()

    @classmethod
    def configure(cls, env: Environment) -> SourceEngine:
        return cls(WorkerSettings.load(env))

    def command(self, address: Address) -> Sequence[str]:
        return (sys.executable, str(Path(__file__).with_name("source.py")), str(address.port))


def main(port: int) -> None:
    import uvloop

    from engineroom.timeline import Timeline
    from engineroom_workers.http.run import run
    from engineroom_workers.http.server import listen
    from engineroom_workers.http.settings import HTTPSettings

    engine = SourceEngine.configure(Environment.of({"MODEL_NAME": "source"}))
    sockets = listen(HTTPSettings(port=port))
    uvloop.run(run(engine, sockets, Timeline(), 5))


if __name__ == "__main__":
    main(int(sys.argv[1]))
