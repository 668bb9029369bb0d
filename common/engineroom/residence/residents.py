"""What is known of every model at one moment: for decisions, and for whoever watches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .phases import Phase

MemorySource: TypeAlias = Literal["declared", "measured", "estimated", "unknown"]

DEMAND_S = 60.0
"""Seconds after which a request counts a third (1/e) of a new one towards a model's demand."""

_COUNTED_S = 5.0
"""For so long requests are taken to have been counted at least: in less, a few of them would look like many."""

GUESSED_LOAD_S = 5.0
"""How long a load is taken to last before there has been one."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model, as decisions see it. Times are the run loop's own clock, in seconds.

    memory: bytes that it takes, or is thought to take, once it is loaded.
    groups: the names of its groups; empty for a model that goes with any.
    ttl_s: seconds without a request after which it is unloaded; None for never.
    running: requests that its engine has. waiting: those that wait for it.
    oldest: when the first of those that wait arrived; None where none waits.
    wanted: why it is to be loaded although nobody may wait for it: an operator asked, it is pinned, or its preload is
        still due; None for no such reason.
    dismissed: whether an operator wants it gone.
    demand: requests of late, each counted less the longer ago it was, as of `demand_at`.
    counted_since: since when they are counted.
    load_s: how long its last load took.
    idle_since: since when it has nothing to do.
    retry_at: before this moment it is not loaded again, since a load of it has failed.
    """

    name: str
    phase: Phase = "absent"
    memory: int = 0
    groups: frozenset[str] = frozenset()
    pinned: bool = False
    ttl_s: float | None = None
    running: int = 0
    waiting: int = 0
    oldest: float | None = None
    wanted: Literal["operator", "pinned", "preload"] | None = None
    dismissed: bool = False
    demand: float = 0.0
    demand_at: float = 0.0
    counted_since: float = -math.inf
    load_s: float = GUESSED_LOAD_S
    idle_since: float = 0.0
    retry_at: float = 0.0

    def expected_requests(self, now: float, seconds: float) -> float:
        """How many requests are likely to arrive for it within `seconds`, going by those of late; but while it has
        nothing to do, not more than one in as long as it has had nothing to do already."""
        counted_s = max(_COUNTED_S, now - self.counted_since)
        # One request alone tells nothing of the next.
        rate = max(0.0, decayed(self.demand, now - self.demand_at) - 1) / (
            DEMAND_S * (1 - math.exp(-counted_s / DEMAND_S))
        )
        idle_s = now - self.idle_since
        if not self.running and idle_s > 0:
            rate = min(rate, 1 / idle_s)
        return rate * seconds


def decayed(demand: float, seconds: float) -> float:
    """A demand as it counts `seconds` later."""
    return demand * math.exp(-max(0.0, seconds) / DEMAND_S)


@dataclass(frozen=True, slots=True)
class Residents:
    """Every model of a worker at one moment, in the table's order.

    budget: bytes that all loaded models may take together; None where nobody knows.
    max_wait_s: MODELS_MAX_WAIT.
    one_load_at_a_time: whether a load begins only once no other is under way, as on GPUs, where servers measure the
        memory that is free while they start.
    """

    models: Mapping[str, ModelState]
    budget: int | None
    max_wait_s: float
    one_load_at_a_time: bool = False


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """One model, for whoever watches.

    memory_bytes: what it takes once it is loaded; `memory_source` says where the number comes from.
    longest_wait_s: how long the first of those that wait has waited; 0 where none does.
    loads, unloads, failures: how often each has happened since the worker was started; `failures` counts failed loads
        and deaths.
    load_s: how long the last load took; None before the first.
    since_s: for how long it has been in this phase.
    reason: why it is not loaded, where a load has failed or its engine has died; else empty.
    retry_in_s: seconds until it may be loaded again after a failure; 0 where it may be now.
    """

    name: str
    aliases: tuple[str, ...]
    engine: str
    phase: Phase
    memory_bytes: int
    memory_source: MemorySource
    running: int
    waiting: int
    longest_wait_s: float
    loads: int
    unloads: int
    failures: int
    load_s: float | None
    since_s: float
    reason: str
    retry_in_s: float
    pinned: bool
    ttl_s: float | None
    groups: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Its fields, times rounded to milliseconds."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
