"""The catalog in force: today's prices, pools and availability over what was recorded of each GPU's hardware."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from engineroom.errors import SettingsError
from engineroom.hardware import CatalogGpu, CatalogSource, GpuCatalog
from engineroom.runpod_account import RunPodAccount
from engineroom.timeouts import timeout

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..runpod_api.resources import GpuOffer

LIVE = "live"
"""The key of RunPod's API among the sources of a catalog's figures."""

_LONGEST_S = 10
"""How long somebody who wants a table waits for today's prices."""

_PAUSE_S = 0.05
_OFFERED = ("pool", "secure_usd", "community_usd", "serverless_usd")


@dataclass(frozen=True, slots=True)
class CurrentCatalog:
    """A catalog, and what is known of its age.

    live: whether RunPod has just been asked.
    note: where the prices come from, for people.
    availability: id -> NONE, LOW, MEDIUM or HIGH; empty where RunPod was not asked.
    """

    catalog: GpuCatalog
    live: bool
    note: str
    availability: Mapping[str, str] = field(default_factory=dict)


async def current(account: RunPodAccount, product: Literal["POD", "SERVERLESS"] = "SERVERLESS") -> CurrentCatalog:
    """RunPod's catalog with RUNPOD_API_KEY, else the record. It never fails: without an answer the record is taken, and
    the note says so.

    Args:
        product: of which availability is meant.
    """
    recorded = GpuCatalog.load()
    if account.runpod_api_key is None:
        return CurrentCatalog(recorded, False, f"{_age(recorded)}; with RUNPOD_API_KEY, RunPod is asked for today's")
    try:
        async with timeout(_LONGEST_S):
            offers = await _offers(account, product)
    except (RunPodApiError, SettingsError) as error:
        cause = str(error).splitlines()[0]
        return CurrentCatalog(recorded, False, f"{_age(recorded)}, because RunPod could not be asked: {cause}")
    except asyncio.TimeoutError:
        return CurrentCatalog(recorded, False, f"{_age(recorded)}, because RunPod did not answer within {_LONGEST_S} s")
    availability = {offer.id: offer.availability for offer in offers if offer.availability}
    note = f"Prices are RunPod's of today, {_today()}"
    return CurrentCatalog(with_offers(recorded, offers), True, note, availability)


async def _offers(account: RunPodAccount, product: str) -> list[GpuOffer]:
    async with RunPodClient(account, _PAUSE_S) as api:
        return await api.gpus(product)


def with_offers(recorded: GpuCatalog, offers: Sequence[GpuOffer]) -> GpuCatalog:
    """What RunPod offers now. Hardware is from the record, prices and pools only from the offers; a type that the
    record lacks has no more than they say."""
    known = {gpu.id: gpu for gpu in recorded.gpus}
    source = CatalogSource("RunPod's REST v2 catalog", "GET /v2/catalog/gpus", _today())
    return GpuCatalog(
        recorded=_today(),
        sources={**recorded.sources, LIVE: source},
        gpus=tuple(_offered(known.get(offer.id), offer) for offer in offers),
    )


def _offered(gpu: CatalogGpu | None, offer: GpuOffer) -> CatalogGpu:
    if gpu is None:
        gpu = CatalogGpu(offer.id, offer.name or offer.id, _manufacturer(offer), offer.memory, sources={"id": LIVE})
    # A price of 0 stands for a cloud that does not have it.
    return msgspec.structs.replace(
        gpu,
        pool=offer.pool,
        secure_usd=offer.price.secure or None,
        community_usd=offer.price.community or None,
        serverless_usd=offer.price.serverless or None,
        sources={**gpu.sources, **dict.fromkeys(_OFFERED, LIVE)},
    )


def _manufacturer(offer: GpuOffer) -> Literal["NVIDIA", "AMD", "UNKNOWN"]:
    if offer.manufacturer == "NVIDIA":
        return "NVIDIA"
    return "AMD" if offer.manufacturer == "AMD" else "UNKNOWN"


def _age(catalog: GpuCatalog) -> str:
    oldest, newest = catalog.dates
    return f"Prices were recorded between {oldest} and {newest}"


def _today() -> str:
    return datetime.date.today().isoformat()
