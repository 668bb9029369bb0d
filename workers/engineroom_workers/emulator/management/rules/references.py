"""Ids in a body that name something else of the account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..problems import RequestProblem, no_such


def check_registry(given: Mapping[str, Any], registries: Mapping[str, Any]) -> None:
    """Refuse a registry that does not exist (404: a guess)."""
    registry = given.get("registry")
    if registry is not None and registry not in registries:
        raise no_such("registry", registry)


def check_volumes(
    volume_ids: Iterable[str], data_centers: Iterable[str], volumes: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse a network volume that does not exist (404), or is elsewhere than the workers may be (400): guesses."""
    centers = list(data_centers)
    for volume_id in volume_ids:
        if volume_id not in volumes:
            raise no_such("network volume", volume_id)
        center = volumes[volume_id]["dataCenter"]
        if centers and center not in centers:
            raise RequestProblem(400, f"network volume {volume_id} is in {center}, which is not among the data centers")
