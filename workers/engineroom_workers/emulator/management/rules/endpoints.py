"""A serverless endpoint's settings, as they are created and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..catalog import Catalog
from ..problems import RequestProblem
from .containers import check_container, complete_container, with_template
from .cpus import check_cpu, complete_cpu
from .cuda import check_cuda

DEFAULT_WORKERS: Final = {"min": 0, "max": 3, "idleTimeout": 10}
DEFAULT_TIMEOUT_MS: Final = 300_000
MOST_WORKERS: Final = 100
"""The account's quota (a guess)."""
PROMPT: Final = frozenset({"name", "workers", "scaling", "timeout", "dataCenterIds", "flashboot"})
"""Settings that need no new workers."""


def created_endpoint(given: Mapping[str, Any], template: Mapping[str, Any] | None, catalog: Catalog) -> dict[str, Any]:
    """The settings of a new endpoint.

    Args:
        given: the body.
        template: the one that it names.

    Raises:
        RequestProblem: the body is well formed and cannot be meant.
    """
    if ("gpu" in given) == ("cpu" in given):
        raise RequestProblem(400, "an endpoint takes exactly one of gpu and cpu")
    gpu = _seeded(given["gpu"], template) if "gpu" in given else None
    config: dict[str, Any] = {
        "name": given["name"],
        "type": given["type"],
        **complete_container(with_template(given, template)),
        "workers": {**DEFAULT_WORKERS, **given.get("workers", {})},
        "scaling": given["scaling"],
        "dataCenterIds": given.get("dataCenterIds", []),
        "networkVolumes": given.get("networkVolumes", []),
        "timeout": given.get("timeout", DEFAULT_TIMEOUT_MS),
        "flashboot": given.get("flashboot", "OFF"),
    }
    if gpu is not None:
        config["gpu"] = complete_gpu(gpu)
    else:
        config["cpu"] = [complete_cpu(choice, catalog) for choice in given["cpu"]]
    _check_idle_timeout(config, given)
    return _checked(config, catalog)


def updated_endpoint(
    config: Mapping[str, Any], given: Mapping[str, Any], template: Mapping[str, Any] | None, catalog: Catalog
) -> dict[str, Any]:
    """An endpoint's settings after a change: what the body leaves out stays.

    Raises:
        RequestProblem: as for `created_endpoint`.
    """
    family = "gpu" if "gpu" in config else "cpu"
    for other in {"gpu", "cpu"} - {family}:
        if other in given:
            raise RequestProblem(
                400, f"the endpoint runs on {family.upper()}s, which cannot be changed: {other} is refused"
            )
    changes = {name: value for name, value in with_template(given, template).items() if name != "templateId"}
    changed = {**config, **changes}
    if "gpu" in given:
        changed["gpu"] = _updated_gpu(config["gpu"], given["gpu"])
    if "cpu" in given:
        changed["cpu"] = [complete_cpu(choice, catalog) for choice in given["cpu"]]
    changed["workers"] = {**DEFAULT_WORKERS, **config["workers"], **given.get("workers", {})}
    _check_idle_timeout(changed, given)
    return _checked(changed, catalog)


def complete_gpu(gpu: Mapping[str, Any]) -> dict[str, Any]:
    """The GPUs of an endpoint, of which a client gave some settings."""
    complete = {
        "pools": gpu["pools"],
        "count": gpu.get("count", 1),
        "allowedCudaVersions": gpu.get("allowedCudaVersions", []),
        "minCudaVersion": gpu.get("minCudaVersion") or None,
    }
    if gpu.get("excludedTypes"):
        complete["excludedTypes"] = [excluded.strip() for excluded in gpu["excludedTypes"]]
    return complete


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings that differ, as a release lists them; those of `workers`, `scaling` and `gpu` one by one."""
    before = _flat(old)
    after = _flat(new)
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [{"field": name, "old": before.get(name), "new": after.get(name)} for name in names]


def needs_new_workers(changes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether workers must be replaced for these changes."""
    return any(change["field"].partition(".")[0] not in PROMPT for change in changes)


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in config.items() if name not in ("workers", "scaling", "gpu")}
    for name in ("workers", "scaling", "gpu"):
        flat.update((f"{name}.{inner}", value) for inner, value in config.get(name, {}).items())
    return flat


def _seeded(gpu: Mapping[str, Any], template: Mapping[str, Any] | None) -> dict[str, Any]:
    """The GPUs with the template's CUDA versions, where the body names neither a set nor a lowest one."""
    if template is None or "allowedCudaVersions" in gpu or "minCudaVersion" in gpu:
        return dict(gpu)
    return {**gpu, "allowedCudaVersions": template["allowedCudaVersions"]}


def _updated_gpu(old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(old)
    if "pools" in given:
        # A client that names the pools names the whole selection.
        kept.pop("excludedTypes", None)
    return complete_gpu({**kept, **given})


def _check_idle_timeout(config: dict[str, Any], given: Mapping[str, Any]) -> None:
    """A queue that scales by the count of requests has no idle time-out."""
    if config["type"] == "QUEUE" and config["scaling"]["type"] == "REQUEST_COUNT":
        if "idleTimeout" in given.get("workers", {}):
            raise RequestProblem(400, "workers.idleTimeout: a queue that scales by REQUEST_COUNT has none")
        config["workers"] = {name: config["workers"][name] for name in ("min", "max")}


def _checked(config: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """The settings, if they can be meant."""
    check_container(config)
    if config["type"] == "LOAD_BALANCER" and config["scaling"]["type"] != "REQUEST_COUNT":
        raise RequestProblem(400, "scaling.type: a load-balancing endpoint scales by REQUEST_COUNT only")
    if config["timeout"] < 1:
        raise RequestProblem(400, "timeout: it must be positive")
    if config["workers"]["min"] > config["workers"]["max"]:
        raise RequestProblem(400, "workers: min is greater than max")
    if config["workers"]["max"] > MOST_WORKERS:
        raise RequestProblem(400, f"workers.max: more than {MOST_WORKERS} is over the account's quota")
    for center in config["dataCenterIds"]:
        if center not in catalog.data_centers:
            raise RequestProblem(400, f"dataCenterIds: there is no data center {center!r}")
    if "gpu" in config:
        _check_gpu(config["gpu"], catalog)
    for choice in config.get("cpu", ()):
        check_cpu(choice, catalog)
    return config


def _check_gpu(gpu: Mapping[str, Any], catalog: Catalog) -> None:
    check_cuda(gpu)
    for pool in gpu["pools"]:
        if pool not in catalog.pools:
            raise RequestProblem(400, f"gpu.pools: there is no pool {pool!r}")
    types = {one.id for one in catalog.in_pools(gpu["pools"])}
    for excluded in gpu.get("excludedTypes", ()):
        if excluded not in types:
            raise RequestProblem(400, f"gpu.excludedTypes: {excluded!r} is in none of the pools")
    if types <= set(gpu.get("excludedTypes", ())):
        raise RequestProblem(400, "gpu.excludedTypes: nothing of the pools is left")
