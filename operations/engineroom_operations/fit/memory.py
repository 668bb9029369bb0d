"""What memory a model needs on each GPU: a pure function of the model, the engine's profile and what is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engineroom.memory import GIB, MemoryProfile, StepSize

from .architecture import Architecture, CacheLayers
from .weights import Weights


@dataclass(frozen=True, slots=True)
class Demand:
    """What a deployment is for.

    context_tokens: prompt and answer of one request together.
    requests: at the same time.
    cache_type: as the engine's setting takes it; empty for its default.
    share: the part of a GPU that the engine may take; None for its default.
    """

    context_tokens: int
    requests: int = 1
    cache_type: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes on each of the GPUs that share a model.

    step_bytes: the peak of one forward pass.
    runtime_bytes: what the process holds beside tensors.
    cache_bytes: for all requests that are asked for.
    request_bytes: what each of them keeps.
    shared_bytes: what they need together beside that; part of `cache_bytes`.
    """

    weights_bytes: int
    cache_bytes: int
    request_bytes: int
    shared_bytes: int
    step_bytes: int
    graph_bytes: int
    runtime_bytes: int

    @property
    def fixed_bytes(self) -> int:
        """What is needed before the first token is kept."""
        return self.weights_bytes + self.step_bytes + self.graph_bytes + self.runtime_bytes

    @property
    def total_bytes(self) -> int:
        return self.fixed_bytes + self.cache_bytes


def cache_bytes_per_value(architecture: Architecture, engine: MemoryProfile, cache_type: str = "") -> float:
    """Bytes of a number in the cache. Raises KeyError for a type that the engine has not."""
    return engine.cache_types[cache_type or engine.default_cache_type] or architecture.compute_bytes


def request_cache_bytes(
    architecture: Architecture, engine: MemoryProfile, tokens: int, gpus: int = 1, cache_type: str = ""
) -> int:
    """Bytes that one request of `tokens` tokens keeps on each GPU."""
    usual = cache_bytes_per_value(architecture, engine, cache_type)
    shards = 1 if engine.splits_layers else gpus
    size = sum(_layers_bytes(layers, engine, tokens, shards, usual, architecture) for layers in architecture.caches)
    return math.ceil(size * shards / gpus)


def step_cache_bytes(
    architecture: Architecture, engine: MemoryProfile, tokens: int, step: StepSize, gpus: int = 1, cache_type: str = ""
) -> int:
    """Bytes that all requests need together beside what each keeps: tokens of a step, which windows let go after it."""
    if not engine.window_holds_step:
        return 0
    usual = cache_bytes_per_value(architecture, engine, cache_type)
    shards = 1 if engine.splits_layers else gpus
    size = 0.0
    for layers in architecture.caches:
        if layers.kind == "window":
            beyond = max(0, min(step.tokens, tokens - layers.window_tokens))
            size += layers.layers * _rounded(beyond, engine) * _token_bytes(layers, shards, usual)
    return math.ceil(size * shards / gpus)


def token_cache_bytes(architecture: Architecture, engine: MemoryProfile, gpus: int = 1, cache_type: str = "") -> int:
    """Bytes by which each further token of a long context grows the cache on each GPU."""
    usual = cache_bytes_per_value(architecture, engine, cache_type)
    shards = 1 if engine.splits_layers else gpus
    growing = [layers for layers in architecture.caches if layers.kind in ("full", "latent")]
    size = sum(layers.layers * _token_bytes(layers, shards, usual) for layers in growing)
    return math.ceil(size * shards / gpus)


def _layers_bytes(
    layers: CacheLayers, engine: MemoryProfile, tokens: int, gpus: int, usual: float, architecture: Architecture
) -> int:
    if layers.kind == "state":
        # A state has the type of the weights, whatever the cache of the other layers has.
        size = layers.bytes_per_value or architecture.compute_bytes
        return int(layers.layers * _heads(layers, gpus) * layers.values_per_head * size)
    kept = min(tokens, layers.window_tokens) if layers.kind == "window" else tokens
    return int(layers.layers * _rounded(kept, engine) * _token_bytes(layers, gpus, usual))


def _rounded(tokens: int, engine: MemoryProfile) -> int:
    return math.ceil(tokens / engine.block_tokens) * engine.block_tokens


def _token_bytes(layers: CacheLayers, gpus: int, usual: float) -> float:
    return _heads(layers, gpus) * layers.values_per_head * (layers.bytes_per_value or usual)


def _heads(layers: CacheLayers, gpus: int) -> int:
    """The heads of each GPU. Where there are fewer than GPUs, several GPUs hold the same."""
    return math.ceil(layers.heads / gpus)


def need(
    architecture: Architecture,
    weights: Weights,
    engine: MemoryProfile,
    demand: Demand,
    step: StepSize,
    gpus: int = 1,
) -> MemoryNeed:
    """What a model needs on each of `gpus` GPUs."""
    request = request_cache_bytes(architecture, engine, demand.context_tokens, gpus, demand.cache_type)
    shared = step_cache_bytes(architecture, engine, demand.context_tokens, step, gpus, demand.cache_type)
    return MemoryNeed(
        weights_bytes=math.ceil(weights.total_bytes / gpus),
        cache_bytes=request * demand.requests + shared,
        request_bytes=request,
        shared_bytes=shared,
        step_bytes=_step_bytes(architecture, engine, step, gpus),
        graph_bytes=engine.graph_bytes_per_layer * architecture.layers,
        runtime_bytes=engine.runtime_bytes + (engine.parallel_bytes if gpus > 1 else 0),
    )


def _step_bytes(architecture: Architecture, engine: MemoryProfile, step: StepSize, gpus: int) -> int:
    """The peak of a step: its layers, or afterwards its logits, whichever is more."""
    wide = 3 * math.ceil(architecture.step_width / gpus)
    layers = step.tokens * (engine.hidden_copies * architecture.hidden + wide) * architecture.compute_bytes
    logits = step.sequences * architecture.vocabulary * engine.logit_bytes
    return int(max(layers, logits)) + (engine.vision_bytes if architecture.sees else 0)


def budget_bytes(usable_bytes: int, engine: MemoryProfile, demand: Demand) -> int:
    """What the engine may take of a GPU."""
    share = engine.share if demand.share is None else demand.share
    return int(usable_bytes * share)


def largest_context(
    architecture: Architecture,
    engine: MemoryProfile,
    room_bytes: int,
    requests: int,
    step: StepSize,
    gpus: int = 1,
    cache_type: str = "",
) -> int:
    """The longest context that `requests` requests can have at the same time in `room_bytes` of each GPU; 0 for none.

    It is at most the model's own, where that is known.
    """
    limit = architecture.context_tokens or 1 << 24

    def fits(tokens: int) -> bool:
        kept = requests * request_cache_bytes(architecture, engine, tokens, gpus, cache_type)
        return kept + step_cache_bytes(architecture, engine, tokens, step, gpus, cache_type) <= room_bytes

    if fits(limit):
        return limit
    low = 0
    high = limit
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low // engine.block_tokens * engine.block_tokens


def gib(size_bytes: float) -> float:
    return size_bytes / GIB
