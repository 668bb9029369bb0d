"""LoRA adapters by name: llama.cpp loads them when it starts, and each request says which it wants.

Its server takes no adapters while it runs. All of LORA_DIR are loaded with the scale 0, which leaves the model as it
is. A request for one of them by name gets `lora`: the scales of all adapters, for itself alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engineroom.adapters import AdapterSettings, AdapterSources
from engineroom.errors import APIError, EngineStartError, Problems
from engineroom.openai.routes import EMBEDDINGS, RERANK, TEXT_ROUTES
from engineroom.settings import Environment

logger = logging.getLogger(__name__)

_WITHOUT = frozenset({EMBEDDINGS, RERANK})
"""Routes on which llama.cpp applies no adapter of a request's."""
_GENERATING = TEXT_ROUTES | {"/infill"}
_NOTHING = 1e-30
"""A scale that changes no answer, for a request without any adapter. With none at all llama.cpp would go on from what
an adapter has computed for the same prompt in the same slot: it forgets that only for a request that has an adapter."""


class LoadedAdapters(NamedTuple):
    """The adapters that a running server has.

    ids: name -> llama.cpp's number of it, of those that clients ask for by name.
    scales: number -> scale, of all, as they are for the model itself.
    """

    ids: Mapping[str, int] = {}
    scales: Mapping[int, float] = {}

    @classmethod
    def of(cls, listed: list[Mapping[str, Any]], named: Mapping[str, Path]) -> LoadedAdapters:
        """Match llama.cpp's own list (`GET /lora-adapters`) with the files.

        Args:
            named: name -> file.
        """
        numbers = {str(adapter["path"]): int(adapter["id"]) for adapter in listed}
        ids = {name: numbers[str(path)] for name, path in named.items() if str(path) in numbers}
        return cls(ids, {int(adapter["id"]): float(adapter["scale"]) for adapter in listed})

    def choose(self, path: str, json: dict[str, Any]) -> dict[str, Any]:
        """The request with the scales of all adapters, where there are any: those of the adapter that its model is, or
        the ones that the server has for the model itself.

        Raises:
            APIError: 400 where the request cannot have an adapter, or names others itself.
        """
        model = json.get("model")
        named = isinstance(model, str) and model in self.ids
        if named and path in _WITHOUT:
            message = f"The model `{model}` is an adapter, which llama.cpp applies to generated text only."
            raise APIError(message, param="model", code="unsupported_parameter")
        if named and "lora" in json:
            message = f"'lora' and the adapter `{model}` as the model exclude each other; leave out one of them."
            raise APIError(message, param="lora", code="invalid_value")
        if not self.scales or path not in _GENERATING or _applies_some(json.get("lora")):
            return json
        scales = {} if "lora" in json else dict(self.scales)
        if named:
            scales[self.ids[str(model)]] = 1.0
        if not any(scales.values()):
            scales[next(iter(self.scales))] = _NOTHING
        return {**json, "lora": [{"id": number, "scale": scale} for number, scale in scales.items()]}


def _applies_some(lora: Any) -> bool:
    """Whether a request's own `lora` applies an adapter, or is nothing that llama.cpp takes."""
    if lora is None:
        return False
    if not isinstance(lora, list) or not all(isinstance(entry, dict) for entry in lora):
        return True
    return any(entry.get("scale") != 0 for entry in lora)


def without_shared_prompts(
    settings: AdapterSettings, values: Mapping[str, Any], env: Environment, problems: Problems
) -> dict[str, Any]:
    """The flags, without llama.cpp's cache of prompts where there are adapters. It does not note which adapter has
    computed a prompt, and would let a request go on from another adapter's numbers. Slots do note it.

    Args:
        values: the flags that are set.
        problems: that the user wants that cache with adapters by name is added here.
    """
    if settings.in_use and values.get("cache_ram", 0) != 0:
        message = "llama.cpp's cache of prompts mixes adapters up; with LORA_DIR or LORA_SOURCES it has to be 0"
        problems.add("CACHE_RAM", message, env.source("CACHE_RAM"))
    if settings.in_use or values.get("lora") or values.get("lora_scaled"):
        return {"cache_ram": 0, **values}
    return dict(values)


def check(settings: AdapterSettings, env: Environment, problems: Problems) -> None:
    """What llama.cpp cannot do of these settings is added to the problems."""
    for source in settings.lora_sources:
        if {*"*?"} & {*source}:
            message = f"llama.cpp loads adapters only when it starts, so each has to be named; {source} names many"
            problems.add("LORA_SOURCES", message, env.source("LORA_SOURCES"))
    if "," in (settings.lora_dir or ""):
        message = "llama.cpp takes no comma in the path of an adapter; rename the folder"
        problems.add("LORA_DIR", message, env.source("LORA_DIR"))


async def find(settings: AdapterSettings, sources: AdapterSources) -> dict[str, Path]:
    """All adapters by name, downloaded where they are not on this machine.

    Raises:
        EngineStartError: one cannot be had, or has a name that llama.cpp does not take.
    """
    files = {}
    for name in (*await sources.names(), *settings.lora_sources):
        try:
            files[name] = (await sources.obtain(name)).path
        except APIError as error:
            raise EngineStartError(str(error)) from error
        if "," in str(files[name]):
            raise EngineStartError(f"{files[name]}: llama.cpp takes no comma in the path of an adapter; rename it")
    folder = Path(settings.lora_dir) if settings.lora_dir else None
    for entry in sorted(folder.iterdir()) if folder else ():
        if entry.name.removesuffix(".gguf") not in files and not entry.name.startswith("."):
            logger.warning(
                "%s is no GGUF adapter, and is left out; llama.cpp's convert_lora_to_gguf.py makes one of PEFT's", entry
            )
    return files


def as_flag(files: Mapping[str, Path], others: str | None) -> str:
    """LORA_SCALED with these files, none of them applied, behind those that the user named."""
    return ",".join([*([others] if others else []), *(f"{path}:0" for path in files.values())])
