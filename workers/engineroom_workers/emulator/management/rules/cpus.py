"""CPUs that a pod or an endpoint asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..catalog import Catalog, CpuType
from ..problems import RequestProblem


def complete_cpu(choice: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """A choice with the memory (GB) that comes with it.

    Raises:
        RequestProblem: there is no such flavour, or it has no such number of vCPUs.
    """
    flavour = check_cpu(choice, catalog)
    memory = max(1, round(flavour.ram_per_vcpu * choice["vcpuCount"]))
    return {"id": choice["id"], "vcpuCount": choice["vcpuCount"], "memory": memory}


def check_cpu(choice: Mapping[str, Any], catalog: Catalog) -> CpuType:
    """The flavour of a choice.

    Raises:
        RequestProblem: as for `complete_cpu`.
    """
    flavour = catalog.cpus.get(choice["id"])
    if flavour is None:
        raise RequestProblem(400, f"cpu.id: there is no flavour {choice['id']!r}")
    count = choice["vcpuCount"]
    if count & (count - 1):
        raise RequestProblem(400, f"cpu.vcpuCount: {count} is not a power of two")
    if not flavour.min_vcpu <= count <= flavour.max_vcpu:
        raise RequestProblem(400, f"cpu.vcpuCount: {flavour.id} has {flavour.min_vcpu} to {flavour.max_vcpu}")
    return flavour
