"""Which workers of an endpoint are to start, to end, or to finish what they have: one pure function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .scaling import FleetLimits
from .states import WorkerStatus


class WorkerView(NamedTuple):
    """A worker, as far as the plan depends on it.

    stale: it runs an older configuration.
    idle_for: seconds since it last had something to do; 0 if it has.
    """

    id: str
    status: WorkerStatus
    stale: bool = False
    idle_for: float = 0.0


class Plan(NamedTuple):
    """What to do now.

    start: how many workers to start.
    end: those that end at once.
    drain: those that finish what they have and get nothing more.
    """

    start: int
    end: tuple[str, ...]
    drain: tuple[str, ...]


_DISPENSABLE = {"THROTTLED": 0, "UNHEALTHY": 1, "INITIALIZING": 2, "IDLE": 3, "RUNNING": 4}
"""Which workers go first where there are more than there may be."""


def make_plan(workers: Sequence[WorkerView], wanted: int, limits: FleetLimits, idle_timeout: float) -> Plan:
    """Compare the workers with how many are wanted.

    A stale worker ends at once, or, if it has something to do, as soon as it is done. More than `limits.max` are
    treated the same. An idle worker ends when its time is up, unless it is wanted.
    """
    leaving = [worker for worker in workers if worker.stale]
    fresh = sorted((worker for worker in workers if not worker.stale), key=lambda worker: _DISPENSABLE[worker.status])
    surplus = max(0, len(fresh) - limits.max)
    leaving += fresh[:surplus]
    kept = fresh[surplus:]
    idle = [worker for worker in kept if worker.status == "IDLE" and worker.idle_for >= idle_timeout]
    idle.sort(key=lambda worker: worker.idle_for, reverse=True)
    leaving += idle[: max(0, len(kept) - wanted)]
    return Plan(
        start=max(0, wanted - len(fresh)),
        end=tuple(worker.id for worker in leaving if worker.status != "RUNNING"),
        drain=tuple(worker.id for worker in leaving if worker.status == "RUNNING"),
    )
