"""Fixtures: a Python that pretends to have vLLM, and, once a session, real vLLM."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engineroom.plugins import open_engine
from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_vllm.engine import VLLMEngine

STANDIN = Path(__file__).with_name("standin_vllm.py")
ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL = ROOT / ".build" / "SmolLM2-135M-Instruct"

LINKED = """#!/bin/sh
[ "$1" = -c ] && echo '{{"vllm": "0.32.0"}}' && exit
while [ "$1" != --uds ]; do shift; done
ln -s {socket} "$2"
exec sleep infinity
"""


@pytest.fixture
def standin_python(tmp_path: Path) -> Callable[[str], str]:
    """A command that stands in for a Python with vLLM of a version: it tells that version, and serves a stand-in."""

    def make(version: str = "0.32.0") -> str:
        versions = json.dumps({"vllm": version} if version else {})
        python = tmp_path / f"standin-python-{version or 'none'}"
        tells = f"echo '{versions}'"
        python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && {tells} || exec {sys.executable} {STANDIN} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return make


@pytest.fixture
def configure(
    standin_python: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., VLLMEngine]:
    """An engine from variables as a user sets them; aliases, defaults and the check of names as in a real start."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)

    def open_(version: str = "0.32.0", **variables: str) -> VLLMEngine:
        values = {"ENGINE": "vllm", "MODEL_NAME": "org/model", "BASE_PATH": str(tmp_path / "no-volume")}
        engine = open_engine(Environment.of({**values, "VLLM_PYTHON": standin_python(version), **variables}))
        assert isinstance(engine, VLLMEngine)
        return engine

    return open_


REAL = {
    "ENGINE": "vllm",
    "MODEL_NAME": str(MODEL),
    "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol, alias",
    "VLLM_PYTHON": str(PYTHON),
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "DTYPE": "float32",
    "ENFORCE_EAGER": "true",
    "MAX_MODEL_LEN": "2048",
    "MAX_NUM_SEQS": "16",
    "ENABLE_LORA": "true",
    "ENABLE_AUTO_TOOL_CHOICE": "true",
    "TOOL_CALL_PARSER": "hermes",
    "TOOL_STRICT_LEVEL": "parameter",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "START_TIMEOUT": "540",
}
"""Settings of real vLLM on a CPU. float32, since bfloat16 has near-ties that fall either way."""


def real_settings(**more: str) -> Environment:
    """Settings for real vLLM; skips where this machine has none."""
    if not PYTHON.exists() or not (MODEL / "config.json").exists():
        pytest.skip("no real vLLM here; `make test-vllm` installs it (2.1 GB)")
    return Environment.of({**REAL, **more})


@pytest.fixture(scope="session")
async def vllm(anyio_backend: str) -> AsyncIterator[VLLMEngine]:
    """Real vLLM, started once for the whole session."""
    engine = open_engine(real_settings())
    assert isinstance(engine, VLLMEngine)
    async with running(engine):
        yield engine


@pytest.fixture(scope="session")
def over_real_vllm(vllm: VLLMEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a worker of its own over the vLLM that runs already.

    Its VLLM_PYTHON stands in for the process only: where that would listen it puts a link to the real socket.
    """
    python = tmp_path_factory.mktemp("linked") / "python"
    python.write_text(LINKED.format(socket=f"{vllm.directory}/engine.sock"))
    python.chmod(0o755)
    return {**REAL, "VLLM_PYTHON": str(python)}
