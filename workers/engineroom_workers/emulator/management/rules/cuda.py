"""The CUDA versions that a machine may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..problems import RequestProblem


def check_cuda(gpu: Mapping[str, Any]) -> None:
    """Refuse a set of versions beside a lowest one."""
    if gpu.get("allowedCudaVersions") and gpu.get("minCudaVersion"):
        raise RequestProblem(400, "gpu: allowedCudaVersions and minCudaVersion exclude each other")


def version(text: str) -> tuple[int, ...]:
    """A version as numbers, since 12.11 is above 12.2."""
    return tuple(int(part) for part in text.split("."))


def suitable(offered: tuple[str, ...], gpu: Mapping[str, Any]) -> list[str]:
    """The versions among those offered that a request takes."""
    allowed = gpu.get("allowedCudaVersions")
    lowest = gpu.get("minCudaVersion")
    return [
        one for one in offered if (not allowed or one in allowed) and (not lowest or version(one) >= version(lowest))
    ]
