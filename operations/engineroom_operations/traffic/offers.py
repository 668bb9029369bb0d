"""How a model could be served: the cheapest pod and the cheapest serverless worker on which it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..fit.gpus import GpuFit
from ..fit.reading import ModelMemory
from ..fit.throughput import ThroughputAssumptions, answer_tokens_per_second
from .decision import ServingOffer
from .pattern import TrafficPattern

_READ_BYTES_PER_SECOND = 1e9
_START_SECONDS = 30.0


def pod_offer(model: ModelMemory, fits: Sequence[GpuFit], pattern: TrafficPattern) -> ServingOffer | None:
    """The cheapest pod; None where the model fits on none, or nobody knows how fast it is."""
    return _offer(model, fits, pattern, lambda fit: fit.pod_usd_per_hour)


def serverless_offer(model: ModelMemory, fits: Sequence[GpuFit], pattern: TrafficPattern) -> ServingOffer | None:
    """The cheapest serverless worker; None where the model fits on none, or nobody knows how fast it is."""
    return _offer(model, fits, pattern, lambda fit: fit.serverless_usd_per_hour)


def assumed_cold_start_seconds(model: ModelMemory) -> float:
    """How long a start takes where nobody has measured it: half a minute, and a second for each gigabyte of weights."""
    return _START_SECONDS + model.weights.total_bytes / _READ_BYTES_PER_SECOND


def _offer(
    model: ModelMemory,
    fits: Sequence[GpuFit],
    pattern: TrafficPattern,
    price: Callable[[GpuFit], float | None],
) -> ServingOffer | None:
    usable = [fit for fit in fits if fit.fits and price(fit) is not None and fit.tokens_per_second]
    if not usable:
        return None
    cheapest = min(usable, key=lambda fit: price(fit) or 0.0)
    together = max(1, cheapest.max_requests)
    alone = _requests_per_second(model, cheapest, 1, pattern)
    count = f"{cheapest.gpus} x " if cheapest.gpus > 1 else ""
    return ServingOffer(
        hardware=f"{count}{cheapest.gpu.name}",
        usd_per_hour=price(cheapest) or 0.0,
        request_seconds=pattern.request_seconds or 1 / alone,
        requests_per_second=_requests_per_second(model, cheapest, together, pattern),
    )


def _requests_per_second(model: ModelMemory, fit: GpuFit, together: int, pattern: TrafficPattern) -> float:
    assert fit.need is not None
    assert fit.gpu.bandwidth_gb_s is not None
    assumed = ThroughputAssumptions(prompt_ratio=pattern.prompt_tokens / pattern.answer_tokens)
    speed = answer_tokens_per_second(
        model.architecture,
        model.weights.total_bytes,
        fit.need.request_bytes * fit.gpus,
        together,
        fit.gpus,
        fit.gpu.bandwidth_gb_s,
        fit.gpu.bf16_tflops,
        assumed,
    )
    return speed / pattern.answer_tokens
