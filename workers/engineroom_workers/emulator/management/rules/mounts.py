"""What is mounted into a pod, when it is created and when that is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..problems import RequestProblem


def check_mounts(mounts: Mapping[str, Any], on_cpu: bool) -> None:
    """Refuse two kinds of mounts at once, and a machine's own disk for a CPU pod."""
    if "persistent" in mounts and mounts.get("network"):
        raise RequestProblem(400, "mounts: persistent and network exclude each other")
    if "persistent" in mounts and on_cpu:
        raise RequestProblem(400, "mounts.persistent: a CPU pod has no persistent disk")


def updated_mounts(old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The mounts after a change: their kind and the volume stay, `{}` changes nothing.

    Raises:
        RequestProblem: the change is none that can be made.
    """
    if given.get("network") == []:
        raise RequestProblem(400, "mounts.network: a mount cannot be removed")
    for kind in given:
        if kind not in old:
            raise RequestProblem(400, f"mounts.{kind}: the pod was made without one")
    if "network" in given and given["network"][0]["volumeId"] != old["network"][0]["volumeId"]:
        raise RequestProblem(400, "mounts.network: the volume of a pod cannot be changed")
    return {**old, **given}
