"""Fixtures: a Python that pretends to have vLLM, and, once a session, real vLLM."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from real_engine import MODEL, ROOT, RealEngine, opened, script

from engineroom.settings import Environment
from engineroom.testing import running
from engineroom_vllm.engine import VLLMEngine

STANDIN = Path(__file__).with_name("standin_vllm.py")
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"

LINKED = """
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
        tells_versions = f"[ \"$1\" = -c ] && echo '{versions}'"
        path = tmp_path / f"standin-python-{version or 'none'}"
        return script(path, f'{tells_versions} || exec {sys.executable} {STANDIN} "$@"')

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
        env = Environment.of({**values, "VLLM_PYTHON": standin_python(version), **variables})
        return opened(VLLMEngine, env)

    return open_


REAL = RealEngine(
    PYTHON,
    "no real vLLM here; `make test-vllm` installs it (2.1 GB)",
    {
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
        "ENGINE_HANG_TIMEOUT": "60",
    },
)
"""Settings of real vLLM on a CPU. float32, since bfloat16 has near-ties that fall either way."""


@pytest.fixture(scope="session")
async def vllm(anyio_backend: str) -> AsyncIterator[VLLMEngine]:
    """Real vLLM, started once for the whole session.

    ENFORCE_EAGER leaves out the model only: torch would still compile how log probabilities are sorted out, in 8 s.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        async with running(opened(VLLMEngine, REAL.environment())) as engine:
            yield engine


@pytest.fixture(scope="session")
def over_real_vllm(vllm: VLLMEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a worker of its own over the vLLM that runs already.

    Its VLLM_PYTHON stands in for the process only: where that would listen it puts a link to the real socket.
    """
    socket = f"{vllm.directory}/engine.sock"
    python = script(tmp_path_factory.mktemp("linked") / "python", LINKED.format(socket=socket))
    return {**REAL.settings, "VLLM_PYTHON": python}
