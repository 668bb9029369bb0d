"""The environment that vLLM's process gets: secrets, and caches that survive the worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from engineroom.models import hub_environ, writable

from .settings import VLLMSettings

_NOT_PASSED_ON = frozenset(
    {"VLLM_API_KEY", "VLLM_CONFIG_FILE", "VLLM_EXTRA_ARGS", "VLLM_PORT", "VLLM_PYTHON", "VLLM_STARTUP_TIMEOUT"}
)
"""Ours or worker-vllm's; vLLM would warn of them or, like VLLM_PORT, mean something else."""


def build(base: Mapping[str, str], settings: VLLMSettings, python: str, *, baked: bool) -> dict[str, str]:
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
