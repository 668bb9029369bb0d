"""The environment of a deployed worker: the settings in force on this machine, as far as they mean anything there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engineroom.engine import Engine
from engineroom.errors import Problem, SettingsError
from engineroom.plugins import settings_groups
from engineroom.process import is_secret_name
from engineroom.runpod_account import HTTP_PORT, DeploymentKind
from engineroom.settings import Environment

_OF_THIS_MACHINE = {"HOST", "PORT", "WORKER", "ENGINE", "ENGINEROOM_ENGINES", "BASE_PATH"}
"""What the kind of deployment or the image decides, or what is a place on this machine."""
_KEYS = {"API_KEYS", "API_KEYS_FILE"}
"""A request through RunPod's load balancer has RunPod's key, which the door would refuse."""


@dataclass(frozen=True)
class WorkerVariables:
    """values: the whole environment. secrets: the names whose values nobody may see. notes: what was left out."""

    values: Mapping[str, str]
    secrets: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def open_values(self) -> dict[str, str]:
        """What a template may have."""
        return {name: value for name, value in self.values.items() if name not in self.secrets}


def worker_variables(
    env: Environment,
    engine: type[Engine],
    kind: DeploymentKind,
    given: Mapping[str, str],
    secrets: Sequence[str],
) -> WorkerVariables:
    """The environment of a worker of this kind.

    Args:
        env: the settings in force, with other programs' names and the engine's understood.
        given: what the deployment file's `env` has; it comes before the settings.
        secrets: names of variables whose values are taken from here, and never shown.

    Raises:
        SettingsError: a variable is set that the kind decides, or one that is named is not set here.
    """
    door = "runpod" if kind == "queue" else "http"
    settings = {
        name: setting
        for group in settings_groups(engine, env, door)
        for setting in group.describe()
        for name in setting.names
    }
    values: dict[str, str] = {}
    notes: list[str] = []
    for name, setting in settings.items():
        if kind == "load-balancer" and name in _KEYS and name in env:
            notes.append(f"{name} is not sent: RunPod checks its own key before the workers of such an endpoint")
            continue
        if name not in env or env.source(name) == "default" or name in _OF_THIS_MACHINE or name.startswith("RUNPOD_"):
            continue
        if _is_a_place_here(env[name]) and name != "MODEL_NAME":
            notes.append(f"{name} names a file of this machine and is not sent")
        elif name == setting.name or setting.name not in env:
            values[name] = env[name]
    problems = [
        Problem(name, "is decided by `kind`; leave it out", "env")
        for name in ("WORKER", "PORT_HEALTH")
        if name in given
    ]
    missing = [name for name in secrets if not env.get(name)]
    problems += [Problem(name, "is named under `secrets`, and not set here", "secrets") for name in missing]
    if problems:
        raise SettingsError(problems)
    values.update(given)
    values.update({name: env[name] for name in secrets})
    values.update(_of_kind(kind, given))
    marked = {name for name, setting in settings.items() if setting.secret}
    hidden = {
        name
        for name, value in values.items()
        if (name in marked or name in secrets or is_secret_name(name)) and not is_reference(value)
    }
    return WorkerVariables(values, frozenset(hidden), tuple(notes))


def is_reference(value: str) -> bool:
    """Whether a value names a secret that is kept in RunPod's console, and is none itself."""
    return value.strip().startswith("{{") and "RUNPOD_SECRET_" in value


def _of_kind(kind: DeploymentKind, given: Mapping[str, str]) -> dict[str, str]:
    if kind == "queue":
        return {"WORKER": "runpod"}
    port = given.get("PORT", str(HTTP_PORT))
    health = {"PORT_HEALTH": port} if kind == "load-balancer" else {}
    return {"WORKER": "http", "PORT": port, **health}


def _is_a_place_here(value: str) -> bool:
    return value.startswith(("/", "./", "~/", "../")) and Path(value).expanduser().exists()
