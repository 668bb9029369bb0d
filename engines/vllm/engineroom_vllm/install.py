"""Where vLLM is installed, and the environment that its process gets."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from engineroom.installation import how_to_install
from engineroom.models import writable
from engineroom.server import EnginePython, find_python
from engineroom.settings import Environment

from .settings import VLLMSettings

_NOT_PASSED_ON = frozenset(
    {
        "VLLM_API_KEY",
        "VLLM_CONFIG_FILE",
        "VLLM_EXTRA_ARGS",
        "VLLM_PORT",
        "VLLM_PYTHON",
        "VLLM_STARTUP_TIMEOUT",
    }
)
"""Ours or worker-vllm's; vLLM would warn of them or, like VLLM_PORT, mean something else."""


_CACHES = ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE")
"""Variables that name the folders of what is compiled."""


def remedy() -> str:
    """What to do where no vLLM is installed."""
    return f"{how_to_install('engineroom-vllm[engine]')}, or set VLLM_PYTHON to the Python that has it"


@functools.cache
def find(python: str | None) -> EnginePython:
    """The Python that has vLLM: the one given, else the first that there is."""
    return find_python(("vllm",), python, command="vllm")


def process_environment(
    env: Environment, settings: VLLMSettings, variables: Iterable[str], python: EnginePython
) -> dict[str, str]:
    """vLLM's environment.

    Args:
        variables: those that vLLM and its libraries read, taken from wherever they are set.
    """
    environ = python.on_path(settings.environ(env, variables, caches=_CACHES))
    for name in _NOT_PASSED_ON:
        environ.pop(name, None)
    volume = writable(settings.base_path)
    if volume is not None:
        environ.setdefault("VLLM_CACHE_ROOT", str(volume / "vllm-cache"))
    return environ
