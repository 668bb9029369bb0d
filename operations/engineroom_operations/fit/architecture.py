"""What of a model's shape decides its need of memory: the caches of its layers, and how wide it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

CacheKind: TypeAlias = Literal["full", "window", "latent", "state"]
"""What a layer keeps of the past: keys and values of every token (`full`) or of the newest ones (`window`); one short
vector for every token (`latent`, as DeepSeek's MLA); or a state whose size does not grow (`state`, as Mamba's)."""


@dataclass(frozen=True, slots=True)
class CacheLayers:
    """Layers that keep the past in the same way.

    heads: what GPUs can divide among them; 1 where each needs all of it.
    values_per_head: numbers kept for one token, keys and values together; of a state, for one request.
    window_tokens: how many tokens a `window` keeps.
    bytes_per_value: where the layer fixes it, whatever type the rest of the cache has.
    """

    kind: CacheKind
    layers: int
    heads: int
    values_per_head: int
    window_tokens: int = 0
    bytes_per_value: float | None = None


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's shape.

    name: what its configuration calls it.
    context_tokens: the longest context it was made for; 0 where nobody says.
    attention_heads: the query's heads; as many GPUs can share the model as divide them.
    step_width: the widest vector of an MLP that one token needs: of all experts that work on it together.
    experts, active_experts: of a layer that has experts; 0 where there are none.
    expert_parameters: of all experts of all layers.
    parameters: of the text model, by its shape; an estimate.
    compute_bytes: bytes of a number that it computes with.
    sees: whether it takes images.
    """

    name: str
    layers: int
    hidden: int
    vocabulary: int
    context_tokens: int
    attention_heads: int
    step_width: int
    caches: tuple[CacheLayers, ...]
    parameters: int
    experts: int = 0
    active_experts: int = 0
    expert_parameters: int = 0
    compute_bytes: int = 2
    sees: bool = False

    @property
    def active_parameters(self) -> int:
        """The parameters that one token meets."""
        if not self.experts:
            return self.parameters
        return self.parameters - self.expert_parameters + self.expert_parameters * self.active_experts // self.experts


def merged(layers: Iterable[CacheLayers]) -> tuple[CacheLayers, ...]:
    """Layers one by one, counted where they are alike, in the order in which each kind comes first."""
    counts: dict[CacheLayers, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + layer.layers
    return tuple(
        CacheLayers(layer.kind, count, layer.heads, layer.values_per_head, layer.window_tokens, layer.bytes_per_value)
        for layer, count in counts.items()
    )
