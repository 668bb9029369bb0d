"""A stand-in for the recorded catalogue: a few types with made-up prices."""

from __future__ import annotations

from .catalog import Catalog, CpuType, DataCenter, GpuType

_GPUS = [
    GpuType("NVIDIA L4", "L4", "AMPERE_24", "NVIDIA", 24, 0.4, 0.3, 0.7),
    GpuType("NVIDIA GeForce RTX 4090", "RTX 4090", "ADA_24", "NVIDIA", 24, 0.7, 0.4, 1.1),
    GpuType("NVIDIA L40S", "L40S", "ADA_48_PRO", "NVIDIA", 48, 0.9, 0.8, 1.9),
    GpuType("NVIDIA A100 80GB PCIe", "A100 PCIe", "AMPERE_80", "NVIDIA", 80, 1.4, 1.2, 2.7),
    GpuType("NVIDIA H100 80GB HBM3", "H100 SXM", "ADA_80_PRO", "NVIDIA", 80, 2.7, None, 4.2),
]
_CPUS = [CpuType("cpu3c", "Compute-Optimized", "Gen 3", 2, 32, 2.0, 0.03, 0.04)]
_DATA_CENTERS = [
    DataCenter("US-KS-2", "US Kansas 2", "NORTH_AMERICA", ("STANDARD", "HIGH_PERFORMANCE")),
    DataCenter("EU-RO-1", "EU Romania 1", "EUROPE"),
]


def standin_catalog() -> Catalog:
    """A catalogue for as long as there is no recorded one."""
    return Catalog(
        {gpu.id: gpu for gpu in _GPUS},
        {cpu.id: cpu for cpu in _CPUS},
        {center.id: center for center in _DATA_CENTERS},
        ("12.8", "13.0"),
    )
