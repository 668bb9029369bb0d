"""Which Python has vLLM, and which version of it: asked without importing vLLM."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engineroom.models import hub_environ, writable

from .settings import VLLMSettings

_ASK = """
import importlib.metadata as m
try:
    print(m.version("vllm"))
except m.PackageNotFoundError:
    pass
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A Python and the vLLM in it; `version` is None where it has none, e.g. "0.32.0+cpu" where it has."""

    python: str
    version: str | None


@functools.cache
def find(python: str | None) -> Installation:
    """The vLLM of that Python, or where None is given the first vLLM there is, some 50 ms.

    Looked for in this interpreter, behind the `vllm` command, and in `python3` on the path: vLLM's own images have
    it there.
    """
    if python is not None:
        return Installation(python, _version(shutil.which(python)))
    if importlib.util.find_spec("vllm") is not None:
        return Installation(sys.executable, importlib.metadata.version("vllm"))
    for candidate in (_behind_command(), "/usr/bin/python3", shutil.which("python3")):
        if candidate and (version := _version(candidate)):
            return Installation(candidate, version)
    return Installation("python3", None)


def _version(python: str | None) -> str | None:
    if python is None:
        return None
    try:
        done = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _behind_command() -> str | None:
    """The interpreter in the first line of the `vllm` script."""
    command = shutil.which("vllm")
    if command is None:
        return None
    with Path(command).open("rb") as script:
        line = script.readline(256).decode("utf-8", "replace").strip()
    python = line.removeprefix("#!").split(" ")[0]
    return python if line.startswith("#!/") and Path(python).exists() else None


_NOT_PASSED_ON = frozenset(
    {"VLLM_API_KEY", "VLLM_CONFIG_FILE", "VLLM_EXTRA_ARGS", "VLLM_PORT", "VLLM_PYTHON", "VLLM_STARTUP_TIMEOUT"}
)
"""Ours or worker-vllm's; vLLM would warn of them or, like VLLM_PORT, mean something else."""


def process_environment(base: Mapping[str, str], settings: VLLMSettings, python: str, *, baked: bool) -> dict[str, str]:
    """vLLM's environment from ours.

    Args:
        base: this process's environment with the settings files' own variables for vLLM.
        python: vLLM's interpreter; its scripts (ninja, for kernels compiled on the way) are put on the path.
        baked: whether the model is part of the image, so that the hub need not be asked for it.
    """
    passed = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON}
    environ = hub_environ(passed, settings.base_path, settings.hf_token, baked=baked)
    if (volume := writable(settings.base_path)) is not None:
        environ.setdefault("VLLM_CACHE_ROOT", str(volume / "vllm-cache"))
    if (scripts := Path(python).parent) != Path():
        environ["PATH"] = os.pathsep.join((str(scripts), environ.get("PATH", os.defpath)))
    return environ
