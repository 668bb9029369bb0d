"""The states of pods and workers, as tables: what leads from which to which, and what may be asked for in each."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

PodStatus: TypeAlias = Literal["PROVISIONING", "STARTING", "RUNNING", "EXITED", "ERROR", "TERMINATED"]
PodEvent: TypeAlias = Literal["placed", "began", "ended", "failed", "start", "stop", "restart", "terminate"]
"""`placed`: it has a machine; `began`: its process runs; `ended`, `failed`: the process ended by itself, with code 0
or another. The others are what clients ask for."""
WorkerStatus: TypeAlias = Literal["RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY"]

POD_TRANSITIONS: Final = MappingProxyType[tuple[PodStatus, PodEvent], PodStatus](
    {
        ("PROVISIONING", "placed"): "STARTING",
        ("PROVISIONING", "stop"): "EXITED",
        ("PROVISIONING", "terminate"): "TERMINATED",
        ("STARTING", "began"): "RUNNING",
        ("STARTING", "ended"): "EXITED",
        ("STARTING", "failed"): "ERROR",
        ("STARTING", "stop"): "EXITED",
        ("STARTING", "terminate"): "TERMINATED",
        ("RUNNING", "ended"): "EXITED",
        ("RUNNING", "failed"): "ERROR",
        ("RUNNING", "stop"): "EXITED",
        ("RUNNING", "restart"): "STARTING",
        ("RUNNING", "terminate"): "TERMINATED",
        ("EXITED", "start"): "PROVISIONING",
        ("EXITED", "terminate"): "TERMINATED",
        ("ERROR", "start"): "PROVISIONING",
        ("ERROR", "terminate"): "TERMINATED",
    }
)
"""The actions in here are those of the OpenAPI file; which state each leads to is a guess where it does not say."""

ACTIONS: Final = ("start", "stop", "restart", "terminate")


def next_status(status: PodStatus, event: PodEvent) -> PodStatus | None:
    """The state that an event leads to; None where it means nothing, or may not be asked for."""
    return POD_TRANSITIONS.get((status, event))


def permitted_actions(status: PodStatus) -> list[str]:
    """What a client may ask of a pod in this state."""
    return [action for action in ACTIONS if (status, action) in POD_TRANSITIONS]


class WorkerFacts(NamedTuple):
    """What is known of a worker.

    placed: it has a machine.
    unhealthy: it failed a check, or its process ended by itself.
    ready: it asks for jobs, or its health check succeeds.
    busy: it has a job or a request.
    """

    placed: bool
    unhealthy: bool
    ready: bool
    busy: bool


def worker_status(facts: WorkerFacts) -> WorkerStatus:
    """A worker's state; the first of these that is true."""
    if not facts.placed:
        return "THROTTLED"
    if facts.unhealthy:
        return "UNHEALTHY"
    if not facts.ready:
        return "INITIALIZING"
    return "RUNNING" if facts.busy else "IDLE"
