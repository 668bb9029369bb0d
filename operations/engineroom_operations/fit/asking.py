"""What a command asks for: the model, the engine for it, and GPUs by the names that people use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from engineroom import plugins
from engineroom.engine import Engine
from engineroom.errors import PluginError
from engineroom.hardware import CatalogGpu, GpuCatalog
from engineroom.memory import MemoryProfile
from engineroom.settings import Environment

from .errors import FitError
from .reading import ModelMemory, read_model

_USUAL_CONTEXT = 8192
_OF_THE_HUB = ("HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE")


def look_up(model: str, revision: str | None, at_load: str, env: Environment) -> ModelMemory:
    """`read_model` with the variables of the environment in force, its file included. A terminal shows what it waits
    for: a large model has more than a hundred files."""
    from rich.console import Console
    from rich.markup import escape

    environ = {**os.environ, **{name: env[name] for name in _OF_THE_HUB if name in env}}
    with Console(stderr=True).status(f"Reading the headers of {escape(model)}"):
        return read_model(model, revision, at_load, environ)


def usual_context(model: ModelMemory) -> int:
    """The context where nobody asks for one: 8192 tokens, or the model's own where that is less."""
    return min(_USUAL_CONTEXT, model.architecture.context_tokens or _USUAL_CONTEXT)


def engine_profile(name: str, model: ModelMemory, env: Environment) -> tuple[str, MemoryProfile]:
    """The engine and its memory profile: the one that is named, else the best for the format of the weights.

    Raises:
        PluginError: there is no such engine.
        FitError: it does not load such weights, or does not say how it uses memory.
    """
    engines: Mapping[str, type[Engine]] = plugins.loadable(env)
    if name:
        if name not in engines:
            raise PluginError(f"no engine called {name!r} is installed (installed: {', '.join(engines) or 'none'})")
        profile = engines[name].memory
        if profile is None:
            raise FitError(f"{name} does not say how it uses a GPU's memory; name another engine")
        if model.format not in engines[name].model_formats:
            raise FitError(f"{name} does not load {model.format} weights, which {model.name} has")
        return name, profile
    able = {
        key: each.memory
        for key, each in engines.items()
        if each.memory is not None and model.format in each.model_formats
    }
    if not able:
        raise FitError(f"no engine that is installed loads {model.format} weights and says how it uses a GPU's memory")

    def order(key: str) -> tuple[int, int, str]:
        return engines[key].model_formats.index(model.format), engines[key].preference, key

    best = min(able, key=order)
    return best, able[best]


def wanted_gpus(catalog: GpuCatalog, names: Sequence[str]) -> Sequence[CatalogGpu]:
    """The GPUs that are named, each once; without a name, all that are for rent.

    Raises:
        CatalogError: there is none of a name.
    """
    if names:
        return list({gpu.id: gpu for name in names for gpu in catalog.matching(name)}.values())
    priced = [gpu for gpu in catalog.gpus if gpu.pod_usd is not None or gpu.serverless_usd is not None]
    return [gpu for gpu in priced if gpu.manufacturer == "NVIDIA"]
