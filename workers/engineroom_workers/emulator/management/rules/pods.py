"""A pod's settings, as they are created and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..catalog import Catalog
from ..problems import RequestProblem
from .containers import FIELDS, check_container, complete_container, with_template
from .cpus import complete_cpu
from .cuda import check_cuda, suitable
from .mounts import check_mounts, updated_mounts

CHANGES_CONTAINER: Final = frozenset({*FIELDS, "mounts"})


def created_pod(given: Mapping[str, Any], template: Mapping[str, Any] | None, catalog: Catalog) -> dict[str, Any]:
    """The settings of a new pod.

    Args:
        given: the body.
        template: the one that it names.

    Raises:
        RequestProblem: the body is well formed and cannot be meant, or there is no capacity for it.
    """
    if ("gpu" in given) == ("cpu" in given):
        raise RequestProblem(400, "a pod takes exactly one of gpu and cpu")
    config: dict[str, Any] = {
        "name": given["name"],
        **complete_container(with_template(given, template)),
        "mounts": given.get("mounts", {}),
        "cloud": given.get("cloud", "SECURE"),
        "locked": False,
        "globalNetworking": given.get("globalNetworking", False),
    }
    check_container(config)
    for center in given.get("dataCenterIds", ()):
        if center not in catalog.data_centers:
            raise RequestProblem(400, f"dataCenterIds: there is no data center {center!r}")
    if "cpu" in given:
        if config["globalNetworking"]:
            raise RequestProblem(400, "globalNetworking: it needs an NVIDIA GPU")
        config["cpu"] = complete_cpu(given["cpu"], catalog)
        check_capacity(config, catalog)
    else:
        gpu = dict(given["gpu"])
        if template is not None:
            if not config["mounts"]:
                config["mounts"] = template["mounts"]
            if "allowedCudaVersions" not in gpu and "minCudaVersion" not in gpu:
                gpu["allowedCudaVersions"] = template["allowedCudaVersions"]
        config["gpu"] = {"id": gpu["id"], "count": gpu.get("count", 1)}
        check_cuda(gpu)
        _check_gpu(config, catalog)
        config["cudaVersion"] = _cuda_version(gpu, catalog)
        check_capacity(config, catalog)
    check_mounts(config["mounts"], on_cpu="cpu" in config)
    return config


def updated_pod(
    config: Mapping[str, Any], given: Mapping[str, Any], template: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A pod's settings after a change: what the body leaves out stays. A template's mounts do not count here.

    Raises:
        RequestProblem: the change cannot be made.
    """
    changes = {name: value for name, value in with_template(given, template).items() if name != "mounts"}
    changed = {**config, **changes}
    check_container(changed)
    if changed["globalNetworking"] and "cpu" in config:
        raise RequestProblem(400, "globalNetworking: it needs an NVIDIA GPU")
    changed["mounts"] = updated_mounts(config["mounts"], given.get("mounts", {}))
    return changed


def changes_container(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a container must start anew for a change."""
    return any(old[name] != new[name] for name in CHANGES_CONTAINER)


def check_capacity(config: Mapping[str, Any], catalog: Catalog) -> None:
    """Refuse a pod for which no machine has room."""
    wanted = config["gpu"]["id"] if "gpu" in config else config["cpu"]["id"]
    if not catalog.available(wanted):
        raise RequestProblem(400, f"there are no instances of {wanted} available now")


def hourly_rate(config: Mapping[str, Any], catalog: Catalog) -> float:
    """USD an hour for a pod that runs."""
    if "gpu" in config:
        price = catalog.price(catalog.gpus[config["gpu"]["id"]], config["cloud"]) or 0.0
        return price * int(config["gpu"]["count"])
    return catalog.cpus[config["cpu"]["id"]].secure * int(config["cpu"]["vcpuCount"])


def _check_gpu(config: Mapping[str, Any], catalog: Catalog) -> None:
    gpu = catalog.gpus.get(config["gpu"]["id"])
    if gpu is None:
        raise RequestProblem(400, f"gpu.id: there is no GPU {config['gpu']['id']!r}")
    if catalog.price(gpu, config["cloud"]) is None:
        raise RequestProblem(400, f"gpu.id: {gpu.id} is not offered in the {config['cloud']} cloud")
    largest = gpu.max_secure if config["cloud"] == "SECURE" else gpu.max_community
    if config["gpu"]["count"] > largest:
        raise RequestProblem(400, f"gpu.count: the largest machine in the {config['cloud']} cloud has {largest}")
    if config["globalNetworking"] and gpu.manufacturer != "NVIDIA":
        raise RequestProblem(400, "globalNetworking: it needs an NVIDIA GPU")


def _cuda_version(gpu: Mapping[str, Any], catalog: Catalog) -> str | None:
    """The newest CUDA version among the machines that will do."""
    manufacturer = catalog.gpus[gpu["id"]].manufacturer
    versions = suitable(catalog.cuda_versions, gpu) if manufacturer == "NVIDIA" else []
    if not versions and (gpu.get("allowedCudaVersions") or gpu.get("minCudaVersion")):
        raise RequestProblem(400, f"there are no instances of {gpu['id']} with that CUDA version available now")
    return versions[-1] if versions else None
