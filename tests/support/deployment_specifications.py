"""Specifications for tests: what a person may want, without a catalog to choose from."""

from __future__ import annotations

from typing import Any

from engineroom_operations.deploy.deployment_file import DeploymentFile
from engineroom_operations.deploy.hardware import Hardware
from engineroom_operations.deploy.wanted import Specification
from engineroom_operations.deploy.worker_variables import WorkerVariables

IMAGE = "ghcr.io/someone/engineroom:0.1.0-echo-0.1.0-cpu"
SECRET = "hf_neverseen"
PASSWORD = "docker_neverseen"


def specification(
    name: str, kind: Any = "queue", image: str = IMAGE, level: str = "INFO", **file: Any
) -> Specification:
    """One with a secret, on a CPU."""
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
        hardware=Hardware(cpu=("cpu3c", 2)),
        disk=10,
        data_center="EU-RO-1" if "volume" in file else "",
        username="me",
        password=PASSWORD,
    )
