"""The catalogue as the management API shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .catalog import Catalog, CpuType, DataCenter, GpuType
from .rules.cuda import suitable


class GpuQuery(NamedTuple):
    """Which availability is asked for.

    products: of which products.
    gpu_count: how many GPUs at once.
    secure: in the secure cloud, or else in the community's.
    countries: codes of those that will do; empty for all.
    cuda: `allowedCudaVersions` and `minCudaVersion`, as in a request for a pod.
    """

    products: tuple[str, ...]
    gpu_count: int
    secure: bool
    countries: tuple[str, ...]
    cuda: Mapping[str, Any]


def gpu_as_json(catalog: Catalog, gpu: GpuType, query: GpuQuery | None) -> dict[str, Any]:
    """A type of GPU, with its availability if that is asked for."""
    price = {"secure": gpu.secure or 0.0, "community": gpu.community or 0.0}
    if gpu.serverless is not None:
        price["serverless"] = gpu.serverless
    document: dict[str, Any] = {
        "id": gpu.id,
        "name": gpu.name,
        "pool": gpu.pool,
        "manufacturer": gpu.manufacturer,
        "memory": gpu.memory,
        "secure": gpu.secure is not None,
        "community": gpu.community is not None,
        "price": price,
        "maxCount": {
            "secure": gpu.max_secure,
            "community": gpu.max_community,
        },
    }
    return document if query is None else {**document, **_gpu_availability(catalog, gpu, query)}


def cpu_as_json(catalog: Catalog, cpu: CpuType, available: bool) -> dict[str, Any]:
    """A flavour of CPU, with its availability if that is asked for."""
    document: dict[str, Any] = {
        "id": cpu.id,
        "name": cpu.name,
        "group": cpu.group,
        "vcpu": {"min": cpu.min_vcpu, "max": cpu.max_vcpu},
        "ramGbPerVcpu": cpu.ram_per_vcpu,
        "price": {"securePerVcpu": cpu.secure, "serverlessPerVcpu": cpu.serverless},
    }
    if available:
        document["availability"] = catalog.level(cpu.id)
        if catalog.available(cpu.id):
            document["dataCenters"] = [_place(catalog, center, cpu.id) for center in catalog.data_centers.values()]
    return document


def data_center_as_json(catalog: Catalog, center: DataCenter, include: Sequence[str]) -> dict[str, Any]:
    """A data centre, with what it has if that is asked for: here all have everything."""
    document: dict[str, Any] = {
        "id": center.id,
        "name": center.name,
        "region": center.region,
        "globalNetwork": center.global_network,
        "networkVolumeTypes": list(center.volume_types),
        "compliance": list(center.compliance),
    }
    if "GPU_AVAILABILITY" in include:
        document["gpuAvailability"] = [_stock(catalog, gpu) for gpu in catalog.gpus.values()]
    if "CPU_AVAILABILITY" in include:
        document["cpuAvailability"] = [_stock(catalog, cpu) for cpu in catalog.cpus.values()]
    return document


def _gpu_availability(catalog: Catalog, gpu: GpuType, query: GpuQuery) -> dict[str, Any]:
    """The availability of a type: NONE where the request cannot be met at all."""
    offered = catalog.cuda_versions if gpu.manufacturer == "NVIDIA" else ()
    versions = suitable(offered, query.cuda)
    centers = [
        center for center in catalog.data_centers.values() if not query.countries or center.country in query.countries
    ]
    document: dict[str, Any] = {"availability": "NONE"}
    wants_cuda = query.cuda["allowedCudaVersions"] or query.cuda["minCudaVersion"]
    if catalog.available(gpu.id) and _offered(gpu, query) and centers and (versions or not wants_cuda):
        document["availability"] = catalog.level(gpu.id)
        document["dataCenters"] = [_place(catalog, center, gpu.id) for center in centers]
    if versions:
        available = catalog.available(gpu.id)
        document["cudaVersions"] = [{"version": version, "available": available} for version in versions]
    return document


def _offered(gpu: GpuType, query: GpuQuery) -> bool:
    """Whether a type is offered for one of the products, in that number."""
    price = gpu.secure if query.secure else gpu.community
    largest = gpu.max_secure if query.secure else gpu.max_community
    as_pod = bool({"POD", "CLUSTER"} & set(query.products)) and price is not None and query.gpu_count <= largest
    return as_pod or ("SERVERLESS" in query.products and gpu.pool is not None)


def _place(catalog: Catalog, center: DataCenter, type_id: str) -> dict[str, Any]:
    return {"id": center.id, "name": center.name, "availability": catalog.level(type_id)}


def _stock(catalog: Catalog, kind: GpuType | CpuType) -> dict[str, Any]:
    return {"id": kind.id, "name": kind.name, "availability": catalog.level(kind.id)}
