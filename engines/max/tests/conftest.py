"""Fixtures: a command that stands in for MAX's, and, once a session, real MAX."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engineroom.plugins import open_engine
from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_max.engine import MAXEngine

STANDIN = Path(__file__).with_name("standin_max.py")
ROOT = Path(__file__).resolve().parents[3]
COMMAND = ROOT / ".venv-max" / "bin" / "max"
MODEL = ROOT / ".build" / "SmolLM2-135M-Instruct"

FORWARDING = """#!/bin/sh
for word in "$@"; do case "$word" in --port=*) port=${{word#--port=}};; esac; done
exec {python} {forwarder} $port {server} $MAX_SERVE_METRICS_ENDPOINT_PORT {metrics}
"""


@pytest.fixture
def standin_command(tmp_path: Path) -> Callable[[str], str]:
    """A command that stands in for the `max` of an environment that has that version."""

    def make(version: str = "26.7.0") -> str:
        folder = tmp_path / f"standin-{version or 'none'}"
        (folder / "lib" / "python3.12" / "site-packages" / f"max-{version}.dist-info").mkdir(
            parents=True, exist_ok=True
        )
        command = folder / "bin" / "max"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} "$@"\n')
        command.chmod(0o755)
        return str(command)

    return make


@pytest.fixture
def configure(
    standin_command: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., MAXEngine]:
    """An engine from variables as a user sets them; aliases, defaults and the check of names as in a real start."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "MODULAR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)

    def open_(version: str = "26.7.0", **variables: str) -> MAXEngine:
        values = {"ENGINE": "max", "MODEL_NAME": "org/model", "BASE_PATH": str(tmp_path / "no-volume")}
        engine = open_engine(Environment.of({**values, "MAX_COMMAND": standin_command(version), **variables}))
        assert isinstance(engine, MAXEngine)
        return engine

    return open_


REAL = {
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
}
"""Settings of real MAX on a CPU; what it compiles is kept for the next session."""


def real_settings(**more: str) -> Environment:
    """Settings for real MAX; skips where this machine has none."""
    if not COMMAND.exists() or not (MODEL / "config.json").exists():
        pytest.skip("no real MAX here; `make test-max` installs it (1.1 GB)")
    return Environment.of({**REAL, **more})


@pytest.fixture(scope="session")
async def real_max(anyio_backend: str) -> AsyncIterator[MAXEngine]:
    """Real MAX, started once for the whole session; it compiles first, minutes where nothing is cached."""
    engine = open_engine(real_settings())
    assert isinstance(engine, MAXEngine)
    async with running(engine):
        yield engine


@pytest.fixture(scope="session")
def over_real_max(real_max: MAXEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a worker of its own over the MAX that runs already.

    Its MAX_COMMAND stands in for the process only: it forwards both ports to those of the real one.
    """
    command = tmp_path_factory.mktemp("forwarding") / "max"
    forwarder = Path(__file__).with_name("forwarder.py")
    server = real_max.upstream.url.rpartition(":")[2]
    metrics = str(real_max.metrics_path).removesuffix("/metrics").rpartition(":")[2]
    command.write_text(FORWARDING.format(python=sys.executable, forwarder=forwarder, server=server, metrics=metrics))
    command.chmod(0o755)
    return {**REAL, "MAX_COMMAND": str(command)}
