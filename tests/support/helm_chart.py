"""The Helm chart as helm renders it. Tests skip where the tools are missing that `make env-kubernetes` fetches."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import kubernetes_programs
import pytest
import yaml
from source_tree import ROOT

CHART = ROOT / "deploy" / "helm" / "engineroom"
PYTHON = ROOT / ".venv-kubernetes" / "bin" / "python"
NAMESPACE = "llm"
RELEASE = "chat"
_REMEDY = "`make env-kubernetes` fetches what tests of deploy/ need"


def program(name: str) -> str:
    """helm or kubectl; the test skips where it is missing."""
    place = kubernetes_programs.find(name)
    if place is None:
        pytest.skip(f"{name} is not installed ({_REMEDY})")
    return str(place)


def checker() -> Path:
    """The Python of .venv-kubernetes; the test skips where it is missing."""
    if not PYTHON.exists():
        pytest.skip(f".venv-kubernetes is missing ({_REMEDY})")
    return PYTHON


def template(values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """What helm makes of the chart with these values."""
    return _template(program("helm"), json.dumps(values))


@functools.cache
def _template(helm: str, values: str) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    return subprocess.run(command, input=values, capture_output=True, text=True, check=False, timeout=60)


def render(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of the chart with these values."""
    done = template(values)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]


def notes(values: Mapping[str, Any]) -> str:
    """What helm prints for who installs the chart with these values."""
    command = [program("helm"), "install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    done = subprocess.run(
        [*command, "--dry-run=client"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def refusal(values: Mapping[str, Any]) -> str:
    """Why helm does not take these values."""
    done = template(values)
    assert done.returncode, done.stdout
    return done.stderr


def of_kind(objects: Iterable[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    (only,) = (each for each in objects if each["kind"] == kind)
    return only


def pod(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The specification of the Deployment's pods."""
    specification: dict[str, Any] = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    return specification


def container(specification: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's container."""
    (only,) = specification["containers"]
    assert isinstance(only, dict)
    return only


def variables(of_container: Mapping[str, Any]) -> dict[str, str]:
    """A container's variables; what comes from elsewhere stands as 0."""
    names = [each["name"] for each in of_container["env"]]
    assert len(names) == len(set(names)), names
    return {each["name"]: each.get("value", "0") for each in of_container["env"]}
