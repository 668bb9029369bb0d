"""How many tokens a second a model gives at most on a GPU: a stated rule, no measurement.

The rule is the roofline: in a step, a GPU reads all weights that the step needs, and the cache of every request, and
computes one token for each request. Whichever takes longer is the step's time. GPUs that share a model share both.
"""

from __future__ import annotations

from dataclasses import dataclass

from .architecture import Architecture


@dataclass(frozen=True, slots=True)
class ThroughputAssumptions:
    """What is assumed.

    bandwidth_share, compute_share: what is reached of the figures in a GPU's data sheet.
    step_seconds: what a step takes beside reading and computing.
    prompt_ratio: how many tokens of prompt come with each token of an answer.
    cache_share: how full a request's context is on average.
    """

    bandwidth_share: float = 0.6
    compute_share: float = 0.4
    step_seconds: float = 0.003
    prompt_ratio: float = 3.0
    cache_share: float = 0.5

    def __str__(self) -> str:
        return (
            f"{self.bandwidth_share:.0%} of the bandwidth and {self.compute_share:.0%} of the bf16 speed in the GPU's "
            f"data sheet, {self.prompt_ratio:g} tokens of prompt for each of an answer, requests that fill "
            f"{self.cache_share:.0%} of their context on average, no idle time"
        )


def answer_tokens_per_second(
    architecture: Architecture,
    weights_bytes: int,
    cache_bytes_per_request: int,
    requests: int,
    gpus: int,
    bandwidth_gb_s: float,
    tflops: float | None,
    assumed: ThroughputAssumptions = ThroughputAssumptions(),
) -> float:
    """Tokens of answers a second with so many requests at the same time, over all GPUs that share the model.

    Args:
        weights_bytes: of the whole model.
        cache_bytes_per_request: of a full context, over all GPUs.
        tflops: dense bf16; without it, reading alone counts.
    """
    read = weights_bytes * _touched(architecture, requests)
    read += requests * cache_bytes_per_request * assumed.cache_share
    step = read / (gpus * bandwidth_gb_s * 1e9 * assumed.bandwidth_share) + assumed.step_seconds
    prompt = 0.0
    if tflops:
        operations = 2 * architecture.active_parameters * requests
        compute = gpus * tflops * 1e12 * assumed.compute_share
        step = max(step, operations / compute)
        prompt = operations * assumed.prompt_ratio / compute
    return requests / (step + prompt)


def _touched(architecture: Architecture, requests: int) -> float:
    """The part of the weights that a step reads: of a layer's experts, those that any of its tokens is sent to."""
    if not architecture.experts or not architecture.parameters:
        return 1.0
    untouched = (1 - architecture.active_experts / architecture.experts) ** requests
    in_experts = architecture.expert_parameters / architecture.parameters
    return 1 - in_experts * untouched
