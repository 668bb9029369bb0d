"""The state of every model on a worker: events in, effects out. No clock and no I/O: `now` is an argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

from ..errors import APIError
from .decisions import decide, room
from .entries import ModelEntry
from .phases import TAKES_MEMORY, Phase, Step, after
from .residents import GUESSED_LOAD_S, MemorySource, ModelState, ResidentModel, Residents, decayed

_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 300.0
_STABLE_S = 60.0
"""After so long a life a death counts as the first."""


class Place:
    """One request's place at a model.

    It waits until it is granted, and is over once the request is.
    """

    __slots__ = ("arrived", "model", "state")

    def __init__(self, model: str, arrived: float) -> None:
        self.model = model
        self.arrived = arrived
        self.state: Literal["waiting", "granted", "over"] = "waiting"


class Effects(Protocol):
    """What the state asks of the world. Nothing here waits: how a load or an unload has ended is an event."""

    def begin_load(self, name: str, memory: int) -> None:
        """Begin to load a model, which is thought to need so many bytes."""

    def begin_unload(self, name: str) -> None:
        """Begin to stop what runs of a model."""

    def grant(self, place: Place) -> None:
        """A request that has waited may go to its model."""

    def refuse(self, place: Place, error: APIError) -> None:
        """A request that has waited will not be served."""


class NeededMemory(NamedTuple):
    """Bytes, and where the number is from."""

    size: int
    source: MemorySource


@dataclass(slots=True)
class _ModelRecord:
    """What changes of one model.

    extra: bytes beside its need for which others have to make room, since somebody else holds memory.
    """

    entry: ModelEntry
    engine: str
    need: NeededMemory
    extra: int = 0
    phase: Phase = "absent"
    waiting: dict[Place, None] = field(default_factory=dict)
    running: int = 0
    stalled: bool = False
    wanted: Literal["operator", "pinned", "preload"] | None = None
    dismissed: bool = False
    demand: float = 0.0
    demand_at: float = 0.0
    load_s: float | None = None
    idle_since: float = 0.0
    since: float = 0.0
    retry_at: float = 0.0
    failures_in_row: int = 0
    refuses: bool = False
    reason: str = ""
    loads: int = 0
    unloads: int = 0
    failures: int = 0

    @property
    def oldest(self) -> float | None:
        first = next(iter(self.waiting), None)
        return None if first is None else first.arrived


class Residency:
    """Owns the state of all models. Only the run loop calls it, one event after another.

    Args:
        entries: the table. engines: the name of each entry's engine.
        max_wait_s: MODELS_MAX_WAIT.
        queue_length: requests that may wait.
        one_load_at_a_time: see `Residents`.
    """

    def __init__(
        self,
        entries: Sequence[ModelEntry],
        engines: Sequence[str],
        effects: Effects,
        *,
        max_wait_s: float,
        queue_length: int,
        one_load_at_a_time: bool = False,
    ) -> None:
        self._models = {
            entry.name: _ModelRecord(entry, engine, NeededMemory(entry.memory or 0, "unknown"))
            for entry, engine in zip(entries, engines, strict=True)
        }
        self._effects = effects
        self._max_wait_s = max_wait_s
        self._queue_length = queue_length
        self._one_load_at_a_time = one_load_at_a_time
        self._waiting = 0
        self._begun = False
        self._began = 0.0
        self._closed: APIError | None = None
        self.budget: int | None = None

    # Events.

    def begin(self, now: float, needs: Sequence[NeededMemory], budget: int | None) -> None:
        """The worker starts: load what is pinned or to be preloaded. What arrives before this waits for it.

        Args:
            needs: the memory of each model, before any is loaded.
            budget: bytes that all loaded models may take together; None for no limit.
        """
        self._begun = True
        self._began = now
        self.budget = budget
        for model, need in zip(self._models.values(), needs, strict=True):
            model.need = need
            model.since = model.idle_since = model.demand_at = now
            if model.entry.pinned:
                model.wanted = "pinned"
            elif model.entry.preload:
                model.wanted = "preload"
        self._act(now)

    def starting(self) -> bool:
        """Whether a model is being loaded because the worker starts. Where loads come one after another, the next one
        begins as the last one ends, unless a request has come before it."""
        return any(
            model.wanted in ("pinned", "preload") and model.phase == "loading" for model in self._models.values()
        )

    def forget_preloads(self) -> Sequence[str]:
        """Drop the wish to preload what there was no room for; the names."""
        names = [name for name, model in self._models.items() if model.wanted == "preload" and model.phase == "absent"]
        for name in names:
            self._models[name].wanted = None
        return names

    def arrive(self, name: str, now: float) -> Place:
        """A request for a model: its place, granted at once where the model is resident.

        Raises:
            APIError: 503, the model cannot be loaded now, too many requests wait, or the worker shuts down.
        """
        if self._closed is not None:
            raise self._closed
        model = self._models[name]
        if model.phase == "absent" and model.refuses and now < model.retry_at:
            raise not_loaded(name, model.reason, model.retry_at - now)
        model.demand = decayed(model.demand, now - model.demand_at) + 1
        model.demand_at = now
        place = Place(name, now)
        if model.phase == "resident" and not model.stalled:
            place.state = "granted"
            model.running += 1
            return place
        if self._waiting >= self._queue_length:
            message = f"The server is busy: {self._waiting} requests wait for models. Please try again later."
            raise APIError(message, status=503, code="server_busy", retry_after=5)
        model.waiting[place] = None
        self._waiting += 1
        self._act(now)
        return place

    def leave(self, place: Place, now: float) -> None:
        """A request is over, or has given up waiting."""
        model = self._models[place.model]
        if place.state == "granted":
            model.running -= 1
            if not model.running:
                model.idle_since = now
        elif place.state == "waiting":
            self._unqueue(place)
        place.state = "over"
        if self._waiting or model.phase == "draining" or any(m.wanted or m.dismissed for m in self._models.values()):
            self._act(now)

    def loaded(self, name: str, now: float, memory: int | None) -> None:
        """A load has succeeded. memory: bytes that were measured; None where none could be."""
        model = self._step(name, "loaded", now)
        model.loads += 1
        model.extra = 0
        model.load_s = now - model.since
        model.since = model.idle_since = now
        model.reason = ""
        model.wanted = None
        declared = model.entry.memory
        if memory is not None and (declared is None or memory > declared):
            model.need = NeededMemory(memory, "measured")
        self._act(now)

    def load_failed(self, name: str, now: float, reason: str) -> None:
        """A load has failed, and what was left of it is gone."""
        model = self._step(name, "load failed", now)
        self._note_failure(model, reason, now, model.failures_in_row)
        model.refuses = True
        model.extra = 0
        model.wanted = "pinned" if model.entry.pinned else None
        model.dismissed = False
        for place in list(model.waiting):
            self._refuse(place, not_loaded(name, reason, model.retry_at - now))
        self._act(now)

    def short_of_memory(self, name: str, now: float, missing: int, reason: str) -> None:
        """A load has not begun: the machine had not the memory that was counted on. More models make room for it; where
        none is left that could, the load has failed."""
        model = self._models[name]
        others = [m for m in self._models.values() if m is not model and m.phase in TAKES_MEMORY]
        if self.budget is None or all(other.entry.pinned for other in others):
            self.load_failed(name, now, reason)
            return
        self._step(name, "load failed", now)
        taken = sum(other.need.size for other in others)
        # At least so much that it does not fit beside all of them, or the same load would begin again.
        model.extra = max(model.extra + missing, self.budget - taken + 1 - model.need.size)
        self._act(now)

    def died(self, name: str, now: float, reason: str) -> None:
        """A resident model's engine has ended; what is left of it has to be cleaned up."""
        model = self._models[name]
        if now - model.since >= _STABLE_S:
            model.failures_in_row = 0
        self._step(name, "died", now)
        # The first death costs no pause: the next request loads the model again. After others requests wait: what could
        # be loaded once can be again.
        self._note_failure(model, reason, now, model.failures_in_row - 1)
        model.refuses = False
        if model.entry.pinned:
            model.wanted = "pinned"
        self._effects.begin_unload(name)

    def unloaded(self, name: str, now: float) -> None:
        """What ran of a model is gone, and its memory is free."""
        model = self._step(name, "unloaded", now)
        model.unloads += 1
        model.dismissed = False
        self._act(now)

    def stalled(self, name: str, now: float, stalled: bool) -> None:
        """A resident model's engine does not respond, or does again. Meanwhile requests for it wait."""
        model = self._models[name]
        if model.stalled != stalled:
            model.stalled = stalled
            self._act(now)

    def want(self, name: str, now: float) -> None:
        """An operator wants a model loaded, now, whatever a failure before has to wait for."""
        model = self._models[name]
        model.dismissed = False
        if model.phase in ("absent", "draining", "unloading"):
            model.wanted = "operator"
            model.retry_at = now
            model.reason = ""
        self._act(now)

    def dismiss(self, name: str, now: float) -> None:
        """An operator wants a model gone once it has answered what it is at; a pinned one, too."""
        model = self._models[name]
        model.wanted = None
        model.dismissed = model.phase != "absent"
        self._act(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._act(now)

    def close(self, reason: APIError) -> None:
        """The worker shuts down: nothing waits any more, and nothing comes in."""
        self._closed = reason
        for model in self._models.values():
            for place in list(model.waiting):
                self._refuse(place, reason)

    # For who looks on.

    def phase(self, name: str) -> Phase:
        return self._models[name].phase

    def failure(self, name: str) -> str:
        """Why a model is not loaded, where a load has failed or its engine has died; empty while it is on its way."""
        model = self._models[name]
        return model.reason if model.phase == "absent" else ""

    def is_dismissed(self, name: str) -> bool:
        """Whether an operator wants a model gone, and it is not yet."""
        return self._models[name].dismissed

    @property
    def waiting(self) -> int:
        """Requests that wait for any model."""
        return self._waiting

    def residents(self, now: float) -> tuple[ResidentModel, ...]:
        """Every model as it is now, in the table's order."""
        return tuple(_seen(model, now) for model in self._models.values())

    # Within.

    def _act(self, now: float) -> None:
        """Do what is to be done now. Effects only begin here, so that no event comes in between."""
        if self._closed is not None or not self._begun:
            return
        # Before anything is decided: a model that has just been loaded is busy then, and not in anybody's way.
        self._grant_all()
        decision = decide(self._snapshot(), now)
        for name in decision.resume:
            self._step(name, "resume", now).wanted = None
        for name in decision.drain:
            self._step(name, "drain", now)
        for name in decision.unload:
            self._step(name, "unload", now)
            self._effects.begin_unload(name)
        for name in decision.load:
            model = self._step(name, "load", now)
            self._effects.begin_load(name, model.need.size)
        self._grant_all()

    def _grant_all(self) -> None:
        """Let all requests go to their model that wait for one which serves."""
        if not self._waiting:
            return
        for model in self._models.values():
            if model.phase != "resident" or model.stalled:
                continue
            for place in list(model.waiting):
                self._unqueue(place)
                place.state = "granted"
                model.running += 1
                self._effects.grant(place)

    def _refuse(self, place: Place, error: APIError) -> None:
        self._unqueue(place)
        place.state = "over"
        self._effects.refuse(place, error)

    def _unqueue(self, place: Place) -> None:
        del self._models[place.model].waiting[place]
        self._waiting -= 1

    def _step(self, name: str, step: Step, now: float) -> _ModelRecord:
        model = self._models[name]
        model.phase = after(model.phase, step)
        if step not in ("loaded", "resume"):
            model.stalled = False
        if step != "loaded":  # It has yet to say how long the load took.
            model.since = now
        return model

    def _note_failure(self, model: _ModelRecord, reason: str, now: float, doublings: int) -> None:
        """Note why a model is not loaded, and when it may be again: the pause doubles each time, from two seconds;
        with fewer than no doublings there is none."""
        model.failures += 1
        model.failures_in_row += 1
        model.reason = reason
        pause = min(_FIRST_PAUSE_S * 2.0**doublings, _LONGEST_PAUSE_S) if doublings >= 0 else 0.0
        model.retry_at = now + pause

    def _snapshot(self) -> Residents:
        states = {name: _state(model, self._began) for name, model in self._models.items()}
        residents = Residents(states, self.budget, self._max_wait_s, self._one_load_at_a_time)
        for name, state in states.items():
            largest = room(residents, name)
            if state.phase == "absent" and largest is not None and state.memory > largest:
                # What is only thought to be too large is tried alone, beside what is pinned.
                states[name] = replace(state, memory=largest)
        return residents


def _state(model: _ModelRecord, counted_since: float) -> ModelState:
    return ModelState(
        name=model.entry.name,
        phase=model.phase,
        memory=model.need.size + model.extra,
        groups=model.entry.groups,
        pinned=model.entry.pinned,
        ttl_s=model.entry.ttl_s,
        running=model.running,
        waiting=len(model.waiting),
        oldest=model.oldest,
        wanted=model.wanted,
        dismissed=model.dismissed,
        demand=model.demand,
        demand_at=model.demand_at,
        counted_since=counted_since,
        load_s=GUESSED_LOAD_S if model.load_s is None else model.load_s,
        idle_since=model.idle_since,
        retry_at=model.retry_at,
    )


def _seen(model: _ModelRecord, now: float) -> ResidentModel:
    entry = model.entry
    return ResidentModel(
        name=entry.name,
        aliases=entry.aliases,
        engine=model.engine,
        phase=model.phase,
        memory_bytes=model.need.size,
        memory_source=model.need.source,
        running=model.running,
        waiting=len(model.waiting),
        longest_wait_s=0.0 if model.oldest is None else now - model.oldest,
        loads=model.loads,
        unloads=model.unloads,
        failures=model.failures,
        load_s=model.load_s,
        since_s=now - model.since,
        reason=model.reason,
        retry_in_s=max(0.0, model.retry_at - now) if model.phase == "absent" else 0.0,
        pinned=entry.pinned,
        ttl_s=entry.ttl_s,
        groups=tuple(sorted(entry.groups)),
    )


def not_loaded(name: str, reason: str, seconds: float) -> APIError:
    """The error for clients of a model that could not be loaded. It may be later, so they may try again."""
    return APIError(
        f"The model `{name}` could not be loaded: {reason.rstrip('.')}.",
        status=503,
        param="model",
        code="model_not_loaded",
        retry_after=max(1, math.ceil(seconds)),
    )
