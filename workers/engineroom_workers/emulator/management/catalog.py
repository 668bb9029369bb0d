"""GPUs, CPUs and data centres with their prices, and how much of each there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

Availability: TypeAlias = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
LEVELS: Final = get_args(Availability)


@dataclass(frozen=True, slots=True)
class GpuType:
    """One type of GPU; prices in USD an hour for one of them, None where it is not offered.

    id: what pods ask for.
    pool: what serverless endpoints ask for, if they can.
    memory: GB.
    max_secure, max_community: the most that one pod may have.
    """

    id: str
    name: str
    pool: str | None
    manufacturer: str
    memory: int
    secure: float | None
    community: float | None
    serverless: float | None
    max_secure: int
    max_community: int


@dataclass(frozen=True, slots=True)
class CpuType:
    """One flavour of CPU; prices in USD an hour for one vCPU."""

    id: str
    name: str
    group: str
    min_vcpu: int
    max_vcpu: int
    ram_per_vcpu: float
    secure: float
    serverless: float


@dataclass(frozen=True, slots=True)
class DataCenter:
    """One data centre, its country's code, and the kinds of network volumes that it has."""

    id: str
    name: str
    region: str
    country: str
    volume_types: tuple[str, ...]
    compliance: tuple[str, ...] = ()
    global_network: bool = True


@dataclass
class Catalog:
    """What can be rented.

    cuda_versions: those of the machines with NVIDIA's GPUs.
    stock: how much there is of what, by the id of a type; HIGH for what is not in it. It may be changed at any time.
    """

    gpus: Mapping[str, GpuType]
    cpus: Mapping[str, CpuType]
    data_centers: Mapping[str, DataCenter]
    cuda_versions: tuple[str, ...]
    stock: dict[str, Availability] = field(default_factory=dict)

    @property
    def pools(self) -> Collection[str]:
        """The pools of serverless endpoints."""
        return {gpu.pool for gpu in self.gpus.values() if gpu.pool is not None}

    def level(self, type_id: str) -> Availability:
        return self.stock.get(type_id, "HIGH")

    def available(self, type_id: str) -> bool:
        return self.level(type_id) != "NONE"

    def price(self, gpu: GpuType, cloud: str) -> float | None:
        """USD an hour for one GPU of a pod in that cloud; None where it is not offered there."""
        return gpu.secure if cloud == "SECURE" else gpu.community

    def in_pools(self, pools: Iterable[str], excluded: Iterable[str] = ()) -> list[GpuType]:
        """The types in these pools, in the order of the pools, less those that are excluded."""
        left_out = set(excluded)
        return [gpu for pool in pools for gpu in self.gpus.values() if gpu.pool == pool and gpu.id not in left_out]

    def set_stock(self, levels: Mapping[str, Any]) -> None:
        """Change how much there is of some types: all that are given, or none.

        Raises:
            ValueError: a type is unknown, or a level is none.
        """
        for type_id, level in levels.items():
            if type_id not in self.gpus and type_id not in self.cpus:
                raise ValueError(f"no such GPU or CPU: {type_id!r}")
            if level not in LEVELS:
                raise ValueError(f"{type_id} takes one of {', '.join(LEVELS)}, not {level!r}")
        self.stock.update(levels)
