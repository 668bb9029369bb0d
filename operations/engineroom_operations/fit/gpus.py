"""On which GPUs a model fits, how many of them it takes, and what that costs: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engineroom.hardware import CatalogGpu, GpuCatalog
from engineroom.memory import GIB, MemoryProfile

from .errors import FitError
from .memory import Demand, MemoryNeed, budget_bytes, largest_context, need
from .reading import ModelMemory
from .throughput import ThroughputAssumptions, answer_tokens_per_second

_COUNTS = (1, 2, 4, 8)
"""Numbers of GPUs that machines have and that divide the heads of most models."""


@dataclass(frozen=True, slots=True)
class GpuFit:
    """One type of GPU, so many of them for one copy of the model.

    fits: whether the model, and the requests that are asked for, fit.
    reason: why not; empty where it fits.
    need: bytes on each GPU; None where the engine does not run on it.
    budget_bytes: what the engine may take of each GPU.
    room_bytes: what of that is left for the cache.
    max_context_tokens: the longest context that the requests that are asked for can have at the same time.
    max_requests: how many requests of the context that is asked for fit at the same time, and the engine takes at once.
    tokens_per_second: of answers, with as many requests: an estimate (see `throughput`); None without a bandwidth.
    pod_usd_per_hour, serverless_usd_per_hour: for all these GPUs; None where it is not offered so, or nobody knows.
    usd_per_million_tokens: of answers, on a pod if there is one, else serverless.
    """

    gpu: CatalogGpu
    gpus: int
    fits: bool
    reason: str
    need: MemoryNeed | None
    budget_bytes: int
    room_bytes: int
    max_context_tokens: int
    max_requests: int
    tokens_per_second: float | None
    pod_usd_per_hour: float | None
    serverless_usd_per_hour: float | None
    usd_per_million_tokens: float | None


@dataclass(frozen=True, slots=True)
class PoolFit:
    """A serverless pool on which a model fits.

    gpus: how many GPUs a worker needs, whichever of the pool's types it gets.
    excluded: ids of types of the pool on which it does not fit with so many.
    """

    pool: str
    gpus: int
    excluded: tuple[str, ...]
    serverless_usd_per_hour: float | None


def fit_gpu(
    model: ModelMemory,
    engine: MemoryProfile,
    gpu: CatalogGpu,
    demand: Demand,
    gpus: int | None = None,
    assumed: ThroughputAssumptions = ThroughputAssumptions(),  # noqa: B008 - it is immutable
) -> GpuFit:
    """Whether a model fits on a type of GPU.

    Args:
        gpus: how many share the model; None for the least that suffice.

    Raises:
        FitError: `gpus` GPUs cannot share the model, or it has not such a long context.
    """
    architecture = model.architecture
    limit = architecture.context_tokens
    if limit and demand.context_tokens > limit:
        raise FitError(f"{model.name} has a context of {limit:,} tokens, not {demand.context_tokens:,}")
    if gpus is not None:
        problem = sharing_problem(model, engine, gpus)
        if problem:
            raise FitError(problem)
        return _fit(model, engine, gpu, demand, gpus, assumed)
    largest = min(engine.largest_parallel, gpu.max_count or engine.largest_parallel)
    counts = [count for count in _COUNTS if count <= largest and not sharing_problem(model, engine, count)]
    fit = _fit(model, engine, gpu, demand, counts[0], assumed)
    for count in counts[1:]:
        if fit.fits or fit.need is None:
            break
        fit = _fit(model, engine, gpu, demand, count, assumed)
    return fit


def fit_gpus(
    model: ModelMemory,
    engine: MemoryProfile,
    gpus: Iterable[CatalogGpu],
    demand: Demand,
    count: int | None = None,
    assumed: ThroughputAssumptions = ThroughputAssumptions(),  # noqa: B008 - it is immutable
) -> tuple[GpuFit, ...]:
    """Whether a model fits on each of several types; those that do first, and of them the cheapest.

    Raises:
        FitError: see `fit_gpu`.
    """
    return tuple(sorted((fit_gpu(model, engine, gpu, demand, count, assumed) for gpu in gpus), key=_order))


def fitting_pools(
    model: ModelMemory, engine: MemoryProfile, catalog: GpuCatalog, demand: Demand, count: int | None = None
) -> tuple[PoolFit, ...]:
    """The serverless pools on which a model fits, the cheapest first. A worker may get any type of its pool.

    Raises:
        FitError: see `fit_gpu`.
    """
    pools: list[PoolFit] = []
    for pool, members in catalog.pools.items():
        fits = [fit for fit in fit_gpus(model, engine, members, demand, count) if fit.fits]
        if not fits:
            continue
        gpus = min(fit.gpus for fit in fits)
        taken = {fit.gpu.id for fit in fits if fit.gpus <= gpus}
        excluded = tuple(gpu.id for gpu in members if gpu.id not in taken)
        price = members[0].serverless_usd
        pools.append(PoolFit(pool, gpus, excluded, None if price is None else price * gpus))
    return tuple(
        sorted(pools, key=lambda pool: (pool.serverless_usd_per_hour is None, pool.serverless_usd_per_hour or 0))
    )


def sharing_problem(model: ModelMemory, engine: MemoryProfile, gpus: int) -> str:
    """Why so many GPUs cannot share a model; empty if they can."""
    if gpus < 1:
        return "at least one GPU is needed"
    if gpus > engine.largest_parallel:
        return f"at most {engine.largest_parallel} GPUs of one machine share a model"
    heads = model.architecture.attention_heads
    if gpus > 1 and not engine.splits_layers and heads > 1 and heads % gpus:
        return f"{gpus} GPUs cannot share {model.name}: its {heads} attention heads cannot be divided by {gpus}"
    return ""


def _fit(
    model: ModelMemory,
    engine: MemoryProfile,
    gpu: CatalogGpu,
    demand: Demand,
    gpus: int,
    assumed: ThroughputAssumptions,
) -> GpuFit:
    architecture = model.architecture
    usable = gpu.usable_memory_bytes
    step = engine.step(usable / GIB, gpu.id)
    budget = budget_bytes(usable, engine, demand)
    needed = need(architecture, model.weights, engine, demand, step, gpus)
    room = budget - needed.fixed_bytes
    reason = _reason(engine, gpu, needed, budget, gpus, demand)
    context = 0
    requests = 0
    if not reason or (room > 0 and _runs(engine, gpu)):
        context = largest_context(architecture, engine, room, demand.requests, step, gpus, demand.cache_type)
        requests = _requests(room, needed, max(step.sequences, demand.requests))
    speed = _speed(model, gpu, needed, gpus, requests, step.sequences, demand, assumed) if not reason else None
    pod = _times(gpu.secure_usd if gpu.secure_usd is not None else gpu.community_usd, gpus)
    serverless = _times(gpu.serverless_usd, gpus)
    price = pod if pod is not None else serverless
    return GpuFit(
        gpu=gpu,
        gpus=gpus,
        fits=not reason,
        reason=reason,
        need=needed if _runs(engine, gpu) else None,
        budget_bytes=budget,
        room_bytes=max(0, room),
        max_context_tokens=context,
        max_requests=requests,
        tokens_per_second=speed,
        pod_usd_per_hour=pod,
        serverless_usd_per_hour=serverless,
        usd_per_million_tokens=price / (speed * 3600) * 1e6 if price is not None and speed else None,
    )


def _reason(engine: MemoryProfile, gpu: CatalogGpu, needed: MemoryNeed, budget: int, gpus: int, demand: Demand) -> str:
    if not _runs(engine, gpu):
        if gpu.manufacturer != "NVIDIA":
            return f"the engine has no profile for GPUs of {gpu.manufacturer}"
        return (
            f"the engine needs compute capability {engine.oldest_sm / 10:.1f}, and it has {int(gpu.sm or 0) / 10:.1f}"
        )
    if needed.total_bytes <= budget:
        return ""
    each = " on each GPU" if gpus > 1 else ""
    there = f"{budget / GIB:.1f} GiB are there"
    if needed.fixed_bytes > budget:
        return (
            f"{needed.weights_bytes / GIB:.1f} GiB of weights and {_rest(needed) / GIB:.1f} GiB beside them are "
            f"needed{each}, and {there}"
        )
    left = (budget - needed.fixed_bytes) / GIB
    cache = needed.cache_bytes / GIB
    return (
        f"{demand.requests:,} x {demand.context_tokens:,} tokens need {cache:.1f} GiB of cache{each}, and {left:.1f} "
        "GiB are left"
    )


def _rest(needed: MemoryNeed) -> int:
    return needed.fixed_bytes - needed.weights_bytes


def _runs(engine: MemoryProfile, gpu: CatalogGpu) -> bool:
    return gpu.manufacturer == "NVIDIA" and (gpu.sm is None or int(gpu.sm) >= engine.oldest_sm)


def _requests(room: int, needed: MemoryNeed, limit: int) -> int:
    if not needed.request_bytes:
        return limit
    return min(limit, max(0, (room - needed.shared_bytes) // needed.request_bytes))


def _speed(
    model: ModelMemory,
    gpu: CatalogGpu,
    needed: MemoryNeed,
    gpus: int,
    requests: int,
    limit: int,
    demand: Demand,
    assumed: ThroughputAssumptions,
) -> float | None:
    if gpu.bandwidth_gb_s is None:
        return None
    # More run at a time than fit with all of their context, since they fill only a part of it.
    together = demand.requests if demand.requests > 1 else min(limit, int(requests / assumed.cache_share))
    return answer_tokens_per_second(
        model.architecture,
        model.weights.total_bytes,
        needed.request_bytes * gpus,
        together,
        gpus,
        gpu.bandwidth_gb_s,
        gpu.bf16_tflops,
        assumed,
    )


def _times(price: float | None, gpus: int) -> float | None:
    return None if price is None else price * gpus


def _order(fit: GpuFit) -> tuple[bool, bool, float, int, str]:
    prices: Sequence[float | None] = (fit.pod_usd_per_hour, fit.serverless_usd_per_hour)
    price = next((each for each in prices if each is not None), None)
    return not fit.fits, price is None, price or 0.0, fit.gpus, fit.gpu.name
