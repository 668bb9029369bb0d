"""The catalogue that the emulator shows: the recorded GPUs and prices, and stand-ins for what has no record."""

from __future__ import annotations

from typing import Final

from engineroom.hardware import CatalogGpu, GpuCatalog

from .catalog import Catalog, CpuType, DataCenter, GpuType

UNKNOWN_MAX_COUNT: Final = 8
"""For a type that is offered and whose largest machine no source states."""
CUDA_VERSIONS: Final = ("12.4", "12.6", "12.8", "12.9", "13.0")
"""A stand-in: which machine has which is not recorded."""

STANDIN_CPUS: Final = (
    CpuType("cpu3c", "Compute-Optimized", "Gen 3", 2, 32, 2.0, 0.03, 0.04),
    CpuType("cpu3g", "General Purpose", "Gen 3", 2, 32, 4.0, 0.04, 0.05),
    CpuType("cpu5c", "Compute-Optimized", "Gen 5", 2, 32, 2.0, 0.035, 0.045),
    CpuType("cpu5g", "General Purpose", "Gen 5", 2, 32, 4.0, 0.045, 0.055),
)
"""Flavours by RunPod's names. Their prices and sizes are made up."""

STANDIN_DATA_CENTERS: Final = (
    DataCenter("US-KS-2", "US Kansas 2", "NORTH_AMERICA", "US", ("STANDARD", "HIGH_PERFORMANCE")),
    DataCenter("US-CA-2", "US California 2", "NORTH_AMERICA", "US", ("STANDARD",)),
    DataCenter("US-TX-3", "US Texas 3", "NORTH_AMERICA", "US", ("STANDARD",)),
    DataCenter("CA-MTL-1", "CA Montreal 1", "NORTH_AMERICA", "CA", ("STANDARD",)),
    DataCenter("EU-RO-1", "EU Romania 1", "EUROPE", "RO", ("STANDARD", "HIGH_PERFORMANCE")),
    DataCenter("EU-SE-1", "EU Sweden 1", "EUROPE", "SE", ("STANDARD",), compliance=("GDPR",)),
    DataCenter("EUR-IS-1", "EUR Iceland 1", "EUROPE", "IS", ("STANDARD",), compliance=("GDPR",)),
    DataCenter("AP-JP-1", "AP Japan 1", "ASIA", "JP", (), global_network=False),
)
"""Some of RunPod's data centres. What each has is made up."""


def recorded_catalog() -> Catalog:
    """Everything in stock everywhere, at the recorded prices."""
    gpus = [_gpu_type(gpu) for gpu in GpuCatalog.load().gpus]
    return Catalog(
        {gpu.id: gpu for gpu in gpus},
        {cpu.id: cpu for cpu in STANDIN_CPUS},
        {center.id: center for center in STANDIN_DATA_CENTERS},
        CUDA_VERSIONS,
    )


def _gpu_type(gpu: CatalogGpu) -> GpuType:
    return GpuType(
        id=gpu.id,
        name=gpu.name,
        pool=gpu.pool,
        manufacturer=gpu.manufacturer,
        memory=gpu.memory_gb,
        secure=gpu.secure_usd,
        community=gpu.community_usd,
        serverless=gpu.serverless_usd,
        max_secure=_max_count(gpu.secure_max_count, gpu.secure_usd),
        max_community=_max_count(gpu.community_max_count, gpu.community_usd),
    )


def _max_count(recorded: int | None, price: float | None) -> int:
    """The largest machine in a cloud; none where the type is not offered there."""
    if price is None:
        return 0
    return UNKNOWN_MAX_COUNT if recorded is None else max(1, recorded)
