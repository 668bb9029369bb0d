"""Which GPUs, or which CPU, a deployment runs on: what is named, what it has already, or what fits and costs least."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engineroom.errors import Problem, SettingsError
from engineroom.hardware import CatalogError, CatalogGpu, GpuCatalog
from engineroom.memory import MemoryProfile

from ..catalog.current import with_offers
from ..fit.gpus import PoolFit, fit_gpus, fitting_pools
from ..fit.memory import Demand
from ..fit.reading import ModelMemory
from ..runpod_api.resources import CpuOffer, GpuOffer

_DEARER = 1.5
"""What costs more than the cheapest by this factor is no alternative to it."""
_POOLS = 3
_PODS = 5


@dataclass(frozen=True, slots=True)
class GpuChoice:
    """GPUs of one type in one machine."""

    gpu: CatalogGpu
    count: int


@dataclass(frozen=True)
class Hardware:
    """What a deployment may run on.

    pods: for a pod, in the order in which they are tried.
    pools, excluded, count: for an endpoint: pools of GPUs, types of them that are not meant, GPUs a worker.
    cpu: a flavour and its vCPUs, where there is no GPU.
    reason: why these, for people.
    """

    pods: tuple[GpuChoice, ...] = ()
    pools: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    count: int = 1
    cpu: tuple[str, int] | None = None
    reason: str = ""

    def types(self, catalog: GpuCatalog) -> list[CatalogGpu]:
        """Every type of GPU that it may get."""
        if self.pods:
            return [choice.gpu for choice in self.pods]
        members = [gpu for pool in self.pools for gpu in catalog.pools.get(pool, ())]
        return [gpu for gpu in members if gpu.id not in self.excluded]


class GpuMarket(NamedTuple):
    """What RunPod rents out now.

    catalog: prices of today, with what the record knows of each GPU.
    available: ids of GPUs of which some are free, as far as RunPod says.
    """

    catalog: GpuCatalog
    available: frozenset[str]


def gpu_market(offers: Sequence[GpuOffer]) -> GpuMarket:
    """RunPod's catalog of now, with what the record knows of each GPU."""
    available = frozenset(offer.id for offer in offers if offer.availability not in (None, "NONE"))
    return GpuMarket(with_offers(GpuCatalog.load(), offers), available)


def named_hardware(
    names: Sequence[str], count: int, market: GpuMarket, kind: str, cloud: str, suits: Collection[str]
) -> Hardware:
    """What the deployment file asks for.

    Args:
        names: GPUs' ids, names or pools, in the order of preference.
        suits: compute capabilities that the engine's images run on; empty for any.

    Raises:
        SettingsError: there is no such GPU, or RunPod does not offer it so.
    """
    gpus: dict[str, CatalogGpu] = {}
    for name in names:
        try:
            gpus.update((gpu.id, gpu) for gpu in market.catalog.matching(name))
        except CatalogError as error:
            raise SettingsError([Problem("gpu", str(error))]) from None
    offered = [gpu for gpu in gpus.values() if _price(gpu, kind, cloud) is not None]
    if not offered:
        others = ", ".join(sorted(gpu.name for gpu in market.catalog.gpus if _price(gpu, kind, cloud) is not None))
        how = f"for pods in the {cloud} cloud" if kind == "pod" else "for serverless endpoints"
        asked = ", ".join(gpu.name for gpu in gpus.values())
        raise SettingsError([Problem("gpu", f"RunPod does not offer {asked} {how}; it offers {others}")])
    suitable = [gpu for gpu in offered if not suits or gpu.sm is None or gpu.sm in suits] or offered
    if kind == "pod":
        return Hardware(pods=tuple(GpuChoice(gpu, count) for gpu in suitable), reason="named")
    chosen = {gpu.id for gpu in suitable}
    pools = tuple(dict.fromkeys(gpu.pool for gpu in suitable if gpu.pool))
    excluded = tuple(gpu.id for pool in pools for gpu in market.catalog.pools[pool] if gpu.id not in chosen)
    return Hardware(pools=pools, excluded=excluded, count=count, reason="named")


def fitting_hardware(
    model: ModelMemory,
    profile: MemoryProfile,
    demand: Demand,
    market: GpuMarket,
    kind: str,
    cloud: str,
    suits: Collection[str],
    count: int | None = None,
) -> Hardware:
    """What the model fits on, the cheapest first.

    Args:
        suits: compute capabilities that the image runs on; empty for any.
        count: how many GPUs share the model; None for the fewest that suffice.

    Raises:
        SettingsError: it fits on nothing that RunPod offers.
    """
    usable = tuple(
        gpu
        for gpu in market.catalog.gpus
        if _price(gpu, kind, cloud) is not None and (not suits or gpu.sm in suits) and gpu.manufacturer == "NVIDIA"
    )
    size = f"{model.name} with a context of {demand.context_tokens:,} tokens"
    if kind == "pod":
        fits = [fit for fit in fit_gpus(model, profile, usable, demand, count) if fit.fits]
        free = [fit for fit in fits if fit.gpu.id in market.available] or fits
        prices = {fit.gpu.id: (_price(fit.gpu, kind, cloud) or 0.0) * fit.gpus for fit in free}
        free.sort(key=lambda fit: prices[fit.gpu.id])
        near = [fit for fit in free if prices[fit.gpu.id] <= _DEARER * prices[free[0].gpu.id]]
        if not near:
            raise _nothing_fits(size, demand, profile)
        pods = tuple(GpuChoice(fit.gpu, fit.gpus) for fit in near[:_PODS])
        return Hardware(pods=pods, reason=f"the cheapest on which {size} fits")
    pools = fitting_pools(model, profile, replace_gpus(market.catalog, usable), demand, count)
    free_pools = [pool for pool in pools if _has_free(pool, market)] or list(pools)
    if not free_pools:
        raise _nothing_fits(size, demand, profile)
    first = free_pools[0]
    limit = _DEARER * (first.serverless_usd_per_hour or 0.0)
    same = [pool for pool in free_pools if pool.gpus == first.gpus and (pool.serverless_usd_per_hour or 0.0) <= limit]
    names = tuple(pool.pool for pool in same[:_POOLS])
    fitting = {gpu.id for gpu in usable} - {gpu_id for pool in same for gpu_id in pool.excluded}
    excluded = tuple(gpu.id for name in names for gpu in market.catalog.pools[name] if gpu.id not in fitting)
    return Hardware(pools=names, excluded=excluded, count=first.gpus, reason=f"the cheapest on which {size} fits")


def replace_gpus(catalog: GpuCatalog, gpus: Sequence[CatalogGpu]) -> GpuCatalog:
    """The catalog with only these GPUs."""
    return GpuCatalog(recorded=catalog.recorded, sources=catalog.sources, gpus=tuple(gpus))


def cheapest_cpu(offers: Sequence[CpuOffer], vcpus: int) -> Hardware:
    """The cheapest flavour of CPU, for an engine that needs no GPU.

    Raises:
        SettingsError: RunPod offers none.
    """
    priced = sorted(offers, key=lambda offer: (offer.price.serverless_per_vcpu or 1e9, offer.id))
    if not priced:
        raise SettingsError([Problem("cpu", "RunPod offers no CPUs now; name a GPU under `gpu`")])
    return Hardware(cpu=(priced[0].id, vcpus), reason="the engine needs no GPU; the cheapest CPU")


def _price(gpu: CatalogGpu, kind: str, cloud: str) -> float | None:
    if kind != "pod":
        return gpu.serverless_usd if gpu.pool else None
    return gpu.secure_usd if cloud == "SECURE" else gpu.community_usd


def _has_free(pool: PoolFit, market: GpuMarket) -> bool:
    members = market.catalog.pools.get(pool.pool, ())
    return any(gpu.id in market.available for gpu in members if gpu.id not in pool.excluded)


def _nothing_fits(size: str, demand: Demand, profile: MemoryProfile) -> SettingsError:
    context = f"set {profile.context_setting} to less, " if profile.context_setting else ""
    message = f"{size} fits on no GPU that RunPod offers so: {context}take a quantised model, or name GPUs under `gpu`"
    return SettingsError([Problem("gpu", message)])
