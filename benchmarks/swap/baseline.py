"""What routers that take requests in the order of their arrival would do: a simulation, to compare with. It is kind to
them: a load and an answer take what they took on the real worker alone, and nothing else takes time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple


class Costs(NamedTuple):
    """Seconds that a load takes, the unload before it included, and an answer."""

    load_s: float
    answer_s: float


class BaselineRun(NamedTuple):
    """What came of an order of requests.

    swaps: loads for which another model had to go.
    seconds: from the first request to the last answer.
    longest_wait_s: of a request, until its model begins to answer.
    """

    swaps: int
    seconds: float
    longest_wait_s: float


class FirstComeFirstServed:
    """A router with room for so many models, of which the one that was used least recently makes room.

    Args:
        strict: whether a request waits for all that came before it. Otherwise one whose model is loaded is answered at
            once, and only those that need a load wait for each other.
    """

    def __init__(self, room: int, costs: Costs, *, strict: bool) -> None:
        self._room = room
        self._costs = costs
        self._strict = strict
        self._now = 0.0
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, str, int]] = []
        self._queue: deque[tuple[int, float]] = deque()
        self._running: Counter[int] = Counter()
        self._used: dict[int, float] = {}
        self._loading: int | None = None
        self._swaps = 0
        self._longest_wait_s = 0.0

    def serve(self, order: Sequence[int], clients: int) -> BaselineRun:
        """The outcome for clients that each ask for the next model in the order as soon as they have an answer."""
        rest = iter(order)
        for model in itertools.islice(rest, clients):
            self._queue.append((model, 0.0))
        self._go_on()
        while self._events:
            self._now, _, what, model = heapq.heappop(self._events)
            if what == "loaded":
                self._loading = None
                self._used[model] = self._now
            else:
                self._running[model] -= 1
                self._used[model] = self._now
                following = next(rest, None)
                if following is not None:
                    self._queue.append((following, self._now))
            self._go_on()
        return BaselineRun(self._swaps, self._now, self._longest_wait_s)

    def _go_on(self) -> None:
        """Answer whom there is a model for, and load for the first whom there is none for."""
        waiting: deque[tuple[int, float]] = deque()
        while self._queue:
            model, arrived = self._queue.popleft()
            if model in self._used and not (self._strict and waiting):
                self._running[model] += 1
                self._used[model] = self._now
                self._longest_wait_s = max(self._longest_wait_s, self._now - arrived)
                self._at(self._costs.answer_s, "answered", model)
            else:
                waiting.append((model, arrived))
        self._queue = waiting
        if waiting and self._loading is None:
            self._load(waiting[0][0])

    def _load(self, model: int) -> None:
        if len(self._used) >= self._room:
            idle = [name for name in self._used if not self._running[name]]
            if not idle:
                return
            del self._used[min(idle, key=self._used.__getitem__)]
            self._swaps += 1
        self._loading = model
        self._at(self._costs.load_s, "loaded", model)

    def _at(self, seconds: float, what: str, model: int) -> None:
        heapq.heappush(self._events, (self._now + seconds, next(self._numbers), what, model))
