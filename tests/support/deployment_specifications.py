"""Specifications for tests: what a person may want, without a catalog to choose from."""

from __future__ import annotations

from typing import Any

from deploy_commands import ECHO_IMAGE, SECRET

from engineroom_operations.deploy.deployment_file import DeploymentFile
from engineroom_operations.deploy.hardware import Hardware
from engineroom_operations.deploy.wanted import Specification
from engineroom_operations.deploy.worker_variables import WorkerVariables

PASSWORD = "docker_neverseen"


__all__ = ["PASSWORD", "SECRET", "specification"]


def specification(
    name: str,
    kind: Any = "queue",
    image: str = ECHO_IMAGE,
    level: str = "INFO",
    hardware: Hardware | None = None,
    **file: Any,
) -> Specification:
    """One with a secret, on a CPU unless `hardware` says otherwise."""
    values = {
        "ENGINE": "echo",
        "LOG_LEVEL": level,
        "HF_TOKEN": SECRET,
        "WORKER": "runpod" if kind == "queue" else "http",
    }
    if kind != "queue":
        values |= {"PORT": "8000", "PORT_HEALTH": "8000"}
    return Specification(
        name=name,
        kind=kind,
        file=DeploymentFile.model_validate({"name": name, "kind": kind, **file}),
        image=image,
        variables=WorkerVariables(values, frozenset({"HF_TOKEN"})),
        hardware=hardware or Hardware(cpu=("cpu3c", 2)),
        disk=10,
        data_center="EU-RO-1" if "volume" in file else "",
        username="me",
        password=PASSWORD,
    )
