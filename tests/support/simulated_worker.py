"""A worker in time of its own: loads, answers and unloads take as long as they are made to, and nothing waits."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engineroom.errors import APIError
from engineroom.residence.entries import ModelEntry
from engineroom.residence.phases import TAKES_MEMORY
from engineroom.residence.residency import NeededMemory, Place, Residency
from engineroom.residence.residents import ResidentModel


@dataclass
class Served:
    """A request: when it arrived, when its model had it, and how it ended."""

    model: str
    arrived: float
    answer_s: float
    granted: float | None = None
    error: APIError | None = None


@dataclass
class SimulatedWorker:
    """Drives a `Residency` as the run loop does, and checks at every effect what must always hold."""

    entries: Sequence[ModelEntry]
    budget: int | None
    max_wait_s: float = 10.0
    load_s: float = 1.0
    unload_s: float = 0.5
    queue_length: int = 10_000
    fails: Callable[[str, float], bool] = lambda name, now: False
    one_load_at_a_time: bool = False
    now: float = 0.0
    loads: int = 0
    served: list[Served] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._requests: dict[Place, Served] = {}
        self._pinned = {entry.name for entry in self.entries if entry.pinned}
        self._dismissed: set[str] = set()
        self._idle_since: dict[str, float] = {}
        self.residency = Residency(
            self.entries,
            ["echo"] * len(self.entries),
            self,
            max_wait_s=self.max_wait_s,
            queue_length=self.queue_length,
            one_load_at_a_time=self.one_load_at_a_time,
        )

    def model(self, name: str) -> ResidentModel:
        return next(model for model in self.residency.residents(self.now) if model.name == name)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), event))

    def begin(self) -> None:
        needs = [NeededMemory(entry.memory or 0, "declared") for entry in self.entries]
        self.residency.begin(self.now, needs, self.budget)

    def arrive(self, name: str, answer_s: float = 0.1) -> Served:
        request = Served(name, self.now, answer_s)
        self.served.append(request)
        try:
            place = self.residency.arrive(name, self.now)
        except APIError as error:
            request.error = error
            return request
        self._requests[place] = request
        if place.state == "granted" and request.granted is None:
            self.grant(place)
        return request

    def dismiss(self, name: str) -> None:
        self._dismissed.add(name)
        self.residency.dismiss(name, self.now)

    def die(self, name: str) -> None:
        if self.model(name).phase in ("resident", "draining"):
            self._dismissed.add(name)  # What has died may be cleaned up, busy or not.
            self.residency.died(name, self.now, "killed")

    def run(self, until: float) -> None:
        """Let time pass; the run loop looks at the clock now and then, too."""
        while self.now < until:
            look = min(until, self.now + 0.25)
            if self._queue and self._queue[0][0] <= look:
                moment, _, event = heapq.heappop(self._queue)
                self.now = max(self.now, moment)
                event()
            else:
                self.now = look
                self.residency.tick(self.now)

    # Effects.

    def begin_load(self, name: str, memory: int) -> None:
        self.loads += 1
        models = self.residency.residents(self.now)
        taken = [model for model in models if model.phase in TAKES_MEMORY]
        if self.budget is not None:
            assert sum(model.memory_bytes for model in taken) <= self.budget, f"more than there is: {taken}"
        groups = [set(model.groups) for model in taken if model.groups]
        assert not groups or set.intersection(*groups), f"not all in one group: {taken}"
        if self.one_load_at_a_time:
            assert sum(model.phase == "loading" for model in models) == 1

        def end() -> None:
            if self.fails(name, self.now):
                self.residency.load_failed(name, self.now, "made to fail")
            else:
                self._idle_since[name] = self.now
                self.residency.loaded(name, self.now, None)

        self.after(self.load_s, end)

    def begin_unload(self, name: str) -> None:
        model = self.model(name)
        if name not in self._dismissed:
            assert not model.running, f"{name} is busy"
            assert name not in self._pinned, f"{name} is pinned"
            others = [other for other in self.residency.residents(self.now) if other.name != name]
            over = model.ttl_s is not None and self.now + 0.001 >= self._idle_since[name] + model.ttl_s
            assert over or any(other.waiting or other.pinned for other in others), f"{name} goes for nobody"
        self._dismissed.discard(name)
        self.after(self.unload_s, lambda: self.residency.unloaded(name, self.now))

    def grant(self, place: Place) -> None:
        request = self._requests[place]
        request.granted = self.now
        assert self.model(place.model).phase in ("resident", "draining")

        def end() -> None:
            self._idle_since[place.model] = self.now
            self.residency.leave(place, self.now)

        self.after(request.answer_s, end)

    def refuse(self, place: Place, error: APIError) -> None:
        self._requests[place].error = error
