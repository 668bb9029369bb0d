"""What the account has now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from ..runpod_api.client import RunPodClient
from ..runpod_api.resources import ENDPOINTS, PODS, REGISTRIES, TEMPLATES, VOLUMES, ResourceKind

Present: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""For the path of each kind, everything of that kind, in JSON."""


async def observe(api: RunPodClient) -> Present:
    """Everything in the account that a deployment may be made of; pods that are terminated are left out."""
    present: dict[str, list[dict[str, Any]]] = {}
    kinds: Sequence[ResourceKind[Any]] = (REGISTRIES, VOLUMES, TEMPLATES, ENDPOINTS)
    for kind in kinds:
        present[kind.path] = [msgspec.to_builtins(each) for each in await api.all_of(kind)]
    pods = [pod for pod in await api.all_of(PODS) if pod.status != "TERMINATED"]
    present[PODS.path] = [msgspec.to_builtins(pod) for pod in pods]
    return present
