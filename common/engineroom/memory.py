"""How an engine uses a GPU's memory, for whoever plans a deployment without a GPU at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class StepSize:
    """What an engine computes at once, by its own defaults.

    from_gib: on GPUs with at least this much usable memory.
    tokens: tokens of one forward pass, prompts and answers together.
    sequences: rows of logits that are held at the same time.
    not_on: parts of GPUs' names, in lower case, where it does not apply.
    """

    from_gib: float
    tokens: int
    sequences: int
    not_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryProfile:
    """An engine's use of memory, by its defaults. All of it is for one GPU.

    share: the part of the GPU's memory that the engine takes in all, as `share_setting` says it.
    share_setting, context_setting, requests_setting, parallel_setting, cache_setting: the engine's settings for that
        part, for the longest context, for requests at the same time, for GPUs that share a model, and for the type of
        the cache; empty where it has none.
    requests_in_context: whether `context_setting` counts the tokens of all requests together.
    cache_types: name, as `cache_setting` takes it -> bytes for a value. The first is its default; 0 means as many as
        the model computes with.
    steps: what is computed at once; the first that applies counts.
    runtime_bytes: what the process holds beside tensors: CUDA's context, libraries.
    parallel_bytes: how much more that is where several GPUs share a model.
    graph_bytes_per_layer: recorded CUDA graphs.
    hidden_copies: how many vectors of the model's width each token of a step needs at the same time, beside the wide
        ones of one MLP.
    logit_bytes: bytes for each logit of a step, with all that sampling makes of it.
    vision_bytes: more of that for models that see.
    window_holds_step: whether a layer with a sliding window keeps the tokens of a step beside its window.
    block_tokens: tokens by which the cache grows.
    oldest_sm: the oldest compute capability that it runs on.
    splits_layers: whether GPUs that share a model have whole layers each; else each has a part of every layer, and
        their number must divide the attention heads.
    largest_parallel: the most GPUs of one machine that can share a model.
    """

    share: float
    steps: tuple[StepSize, ...]
    cache_types: Mapping[str, float] = field(default_factory=lambda: {"auto": 0.0})
    share_setting: str = ""
    context_setting: str = ""
    requests_setting: str = ""
    parallel_setting: str = ""
    cache_setting: str = ""
    requests_in_context: bool = False
    runtime_bytes: int = GIB // 2
    parallel_bytes: int = 0
    graph_bytes_per_layer: int = 0
    hidden_copies: float = 6
    logit_bytes: float = 4
    vision_bytes: int = 0
    window_holds_step: bool = True
    block_tokens: int = 16
    oldest_sm: int = 75
    splits_layers: bool = False
    largest_parallel: int = 8

    @property
    def default_cache_type(self) -> str:
        return next(iter(self.cache_types))

    def step(self, usable_gib: float, gpu_name: str) -> StepSize:
        """What it computes at once on a GPU."""
        name = gpu_name.lower()
        for step in self.steps:
            if usable_gib >= step.from_gib and not any(part in name for part in step.not_on):
                return step
        return self.steps[-1]
