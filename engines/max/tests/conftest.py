"""Fixtures: a command that stands in for MAX's, and, once a session, real MAX."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from real_engine import MODEL, ROOT, RealEngine, opened, script

from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_max.engine import MAXEngine

STANDIN = Path(__file__).with_name("standin_max.py")
COMMAND = ROOT / ".venv-max" / "bin" / "max"

FORWARDING = """
for word in "$@"; do case "$word" in --port=*) port=${{word#--port=}};; esac; done
exec {python} {forwarder} $port {server} $MAX_SERVE_METRICS_ENDPOINT_PORT {metrics}
"""


def standin(folder: Path, version: str = "26.7.0") -> str:
    """A command that stands in for the `max` of an environment that has that version."""
    environment = folder / f"standin-{version or 'none'}"
    distribution = environment / "lib" / "python3.12" / "site-packages" / f"max-{version}.dist-info"
    distribution.mkdir(parents=True, exist_ok=True)
    return script(environment / "bin" / "max", f'exec {sys.executable} {STANDIN} "$@"')


def over_standin(patch: pytest.MonkeyPatch, command: str, **variables: str) -> MAXEngine:
    """An engine from variables as a user sets them; aliases, defaults and the check of names as in a real start."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "MODULAR_CACHE_DIR"):
        patch.delenv(name, raising=False)
    values = {"ENGINE": "max", "MODEL_NAME": "org/model", "BASE_PATH": f"{command}-no-volume", "MAX_COMMAND": command}
    return opened(MAXEngine, Environment.of({**values, **variables}))


@pytest.fixture
def standin_command(tmp_path: Path) -> Callable[..., str]:
    return lambda version="26.7.0": standin(tmp_path, version)


@pytest.fixture
def configure(standin_command: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., MAXEngine]:
    """Makes engines; `version` is the stand-in's."""

    def open_(version: str = "26.7.0", **variables: str) -> MAXEngine:
        return over_standin(monkeypatch, standin_command(version), **variables)

    return open_


REAL = RealEngine(
    COMMAND,
    "no real MAX here; `make test-max` installs it (1.1 GB)",
    {
        "ENGINE": "max",
        "MODEL_NAME": str(MODEL),
        "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol, alias",
        "MAX_COMMAND": str(COMMAND),
        "DEVICES": "cpu",
        "MAX_LENGTH": "2048",
        "MAX_BATCH_SIZE": "16",
        "HF_HUB_OFFLINE": "1",
        "MODULAR_CACHE_DIR": str(ROOT / ".build" / "max-cache"),
        "START_TIMEOUT": "900",
    },
)
"""Settings of real MAX on a CPU; what it compiles is kept for the next session."""


@pytest.fixture(scope="session")
async def real_max(anyio_backend: str) -> AsyncIterator[MAXEngine]:
    """Real MAX, started once for the whole session; it compiles first, minutes where nothing is cached."""
    async with running(opened(MAXEngine, REAL.environment())) as engine:
        yield engine


@pytest.fixture(scope="session")
def over_real_max(real_max: MAXEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a worker of its own over the MAX that runs already.

    Its MAX_COMMAND stands in for the process only: it forwards both ports to those of the real one.
    """
    forwarder = Path(__file__).with_name("forwarder.py")
    server = real_max.upstream.origin.port
    metrics = str(real_max.metrics_path).removesuffix("/metrics").rpartition(":")[2]
    forwarding = FORWARDING.format(python=sys.executable, forwarder=forwarder, server=server, metrics=metrics)
    command = script(tmp_path_factory.mktemp("forwarding") / "max", forwarding)
    return {**REAL.settings, "MAX_COMMAND": command}
