"""A fleet of workers behind a balancer, and an autoscaler, as a discrete-event simulation with SimPy.

A worker has places for requests that run, and a queue for some that wait. A request that runs has its first token after
a fixed time, and then tokens at a rate that depends on how many run beside it. The balancer gives a request to the
ready worker with the fewest; one that is full hands it on, and where all are full it is refused. Where no worker is
ready, requests are held in front until one is; a queue in front of a cluster holds them until a place is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import simpy

_DONE = 1e-9
"""Tokens or seconds below which nothing is left: sums of floating point numbers do not end at zero."""


class DueRequest(NamedTuple):
    """A request. due: seconds from the beginning; tokens: of its answer, at least one."""

    due: float
    tokens: int


@dataclass(frozen=True)
class WorkerProfile:
    """What was measured of one worker.

    start_s: from its order until it is ready.
    first_s: from a request to its first token, where nothing waits.
    rates: numbers of streams at once, rising, with the tokens a second that each of them then gets.
    places: requests that run at a time.
    queue: requests that may wait.
    """

    start_s: float
    first_s: float
    rates: tuple[tuple[int, float], ...]
    places: int
    queue: int

    def rate(self, streams: int) -> float:
        """Tokens a second of each stream, between two numbers that were measured by a straight line."""
        lower = self.rates[0]
        for upper in self.rates:
            if upper[0] >= streams:
                if upper[0] == lower[0]:
                    return upper[1]
                share = (streams - lower[0]) / (upper[0] - lower[0])
                return lower[1] + share * (upper[1] - lower[1])
            lower = upper
        return lower[1]


@dataclass(frozen=True)
class ScalingRule:
    """When workers are ordered and dismissed, as KEDA does it with AverageValue.

    target: running and waiting requests for each worker.
    poll_s: seconds between two looks.
    down_s: for how long fewer have to suffice before workers are dismissed.
    """

    minimum: int
    maximum: int
    target: int
    poll_s: float = 15
    down_s: float = 300

    def wanted(self, requests: int) -> int:
        """Workers for so many requests."""
        return max(self.minimum, min(self.maximum, -(-requests // self.target)))


@dataclass
class SimulatedRequest:
    """What became of a request. Moments are seconds from the beginning.

    began: when it had a place. first: its first token. ended: its last.
    """

    due: float
    tokens: int
    began: float = 0
    first: float = 0
    ended: float = 0
    refused: bool = False

    @property
    def ttft_s(self) -> float:
        return self.first - self.due

    @property
    def latency_s(self) -> float:
        return self.ended - self.due


@dataclass
class FleetReport:
    """outcomes: in the order of arrival. worker_s: seconds for which workers were there, from each one's order on.
    starts: workers that were ordered, beside those that were there at the beginning. ready: when each was ready.
    """

    outcomes: list[SimulatedRequest] = field(default_factory=list)
    worker_s: float = 0
    starts: int = 0
    ready: list[float] = field(default_factory=list)


class _Running(NamedTuple):
    """A request that runs: seconds to its first token, and tokens that follow it."""

    outcome: SimulatedRequest
    left: list[float]


class SimulatedWorker:
    """One worker. `requests` counts those that run and those that wait.

    Args:
        freed: called when a request has ended.
    """

    def __init__(
        self, env: simpy.Environment, profile: WorkerProfile, ordered: float, freed: Callable[[], object]
    ) -> None:
        self.ordered = ordered
        self.ready = False
        self.leaving = False
        self._env = env
        self._profile = profile
        self._freed = freed
        self._running: list[_Running] = []
        self._waiting: deque[SimulatedRequest] = deque()
        self._change = env.event()
        env.process(self._work())

    @property
    def requests(self) -> int:
        return len(self._running) + len(self._waiting)

    @property
    def full(self) -> bool:
        return self.requests >= self._profile.places + self._profile.queue

    @property
    def has_free_place(self) -> bool:
        return self.requests < self._profile.places

    def take(self, outcome: SimulatedRequest) -> None:
        """Run a request, or let it wait."""
        self._waiting.append(outcome)
        self._wake()

    def _wake(self) -> None:
        if not self._change.triggered:
            self._change.succeed()

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._profile.places:
            outcome = self._waiting.popleft()
            outcome.began = self._env.now
            self._running.append(_Running(outcome, [self._profile.first_s, outcome.tokens - 1.0]))

    def _work(self) -> Generator[simpy.Event, Any, None]:
        while True:
            self._admit()
            if not self._running:
                yield self._change
                self._change = self._env.event()
                continue
            rate = self._profile.rate(len(self._running))
            began = self._env.now
            soonest = min(_seconds_left(each.left, rate) for each in self._running)
            yield self._env.timeout(soonest) | self._change
            if self._change.triggered:
                self._change = self._env.event()
            self._advance(self._env.now - began, rate)

    def _advance(self, seconds: float, rate: float) -> None:
        """Let so much time pass for all that run; none has more than one event in it."""
        still = []
        for each in self._running:
            if each.left[0] > _DONE:
                each.left[0] -= seconds
                if each.left[0] <= _DONE:
                    each.outcome.first = self._env.now
            else:
                each.left[1] -= seconds * rate
            if each.left[0] <= _DONE and each.left[1] <= _DONE:
                each.outcome.ended = self._env.now
            else:
                still.append(each)
        ended = len(still) < len(self._running)
        self._running = still
        if ended:
            self._freed()


def _seconds_left(left: Sequence[float], rate: float) -> float:
    """Seconds to the next event of a request: its first token, or its last."""
    return left[0] if left[0] > _DONE else left[1] / rate


class SimulatedFleet:
    """A simulation: `SimulatedFleet(profile, rule).run(arrivals)`.

    Args:
        rule: how many workers there are; with an equal minimum and maximum their number is fixed.
        warm: workers that are ready at the beginning; by default the rule's minimum.
        front: whether a queue in front holds requests until a worker has a free place for them.
    """

    def __init__(self, profile: WorkerProfile, rule: ScalingRule, warm: int | None = None, front: bool = False) -> None:
        self._env = simpy.Environment()
        self._profile = profile
        self._rule = rule
        self._front = front
        self._workers: list[SimulatedWorker] = []
        self._held: deque[SimulatedRequest] = deque()
        self._report = FleetReport()
        self._arrived_all = False
        for _ in range(rule.minimum if warm is None else warm):
            worker = SimulatedWorker(self._env, profile, 0, self._release)
            worker.ready = True
            self._workers.append(worker)

    def run(self, arrivals: Iterable[DueRequest]) -> FleetReport:
        """What becomes of these requests."""
        self._env.process(self._arrive(arrivals))
        self._env.process(self._scale())
        while not self._arrived_all or self._requests():
            self._env.step()
        for worker in self._workers:
            self._report.worker_s += self._env.now - worker.ordered
        return self._report

    def _requests(self) -> int:
        return len(self._held) + sum(worker.requests for worker in self._workers)

    def _arrive(self, arrivals: Iterable[DueRequest]) -> Generator[simpy.Event, Any, None]:
        for arrival in arrivals:
            yield self._env.timeout(max(0.0, arrival.due - self._env.now))
            outcome = SimulatedRequest(arrival.due, arrival.tokens)
            self._report.outcomes.append(outcome)
            self._held.append(outcome)
            self._release()
        self._arrived_all = True

    def _release(self) -> None:
        """Give what is held in front to workers, or refuse it, as far as that is due."""
        while self._held:
            serving = [each for each in self._workers if each.ready and not each.leaving]
            takers = [each for each in serving if (each.has_free_place if self._front else not each.full)]
            if takers:
                min(takers, key=lambda worker: worker.requests).take(self._held.popleft())
            elif serving and not self._front:
                self._held.popleft().refused = True
            else:
                return

    def _scale(self) -> Generator[simpy.Event, Any, None]:
        rule = self._rule
        if rule.minimum == rule.maximum:
            return
        lately: deque[tuple[float, int]] = deque()
        while True:
            wanted = rule.wanted(self._requests())
            lately.append((self._env.now, wanted))
            while lately[0][0] < self._env.now - rule.down_s:
                lately.popleft()
            staying = [worker for worker in self._workers if not worker.leaving]
            for _ in range(wanted - len(staying)):
                self._env.process(self._start())
            # What was wanted of late stays, so that a short lull costs no start.
            for worker in staying[max(number for _, number in lately) :]:
                worker.leaving = True
            for worker in [each for each in self._workers if each.leaving and not each.requests]:
                self._workers.remove(worker)
                self._report.worker_s += self._env.now - worker.ordered
            yield self._env.timeout(rule.poll_s)

    def _start(self) -> Generator[simpy.Event, Any, None]:
        worker = SimulatedWorker(self._env, self._profile, self._env.now, self._release)
        self._workers.append(worker)
        self._report.starts += 1
        yield self._env.timeout(self._profile.start_s)
        worker.ready = True
        self._report.ready.append(self._env.now)
        self._release()
