"""Many requests: a closed loop of streams, each of which asks anew when it is answered; an open loop of arrivals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .arrivals import Arrivals
from .measurement import Measurement
from .sender import Ask, Sender

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_ALL_FAIL = 50
"""If so many requests, the first that were sent, have all failed, and none has succeeded, a loop ends."""

MAX_IN_FLIGHT = 20_000
"""Requests of an open loop under way at once; later ones wait, and their waiting counts as latency."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a loop is to do: it ends with the first of these, and then waits for what is under way.

    requests: to be sent; any number by default.
    seconds: during which requests are sent; any by default.
    """

    requests: int | None = None
    seconds: float | None = None


class LoadLoop:
    """Sends requests and hands over what came of each.

    Args:
        asks: what to send, in this order; the loop ends where they do.
        on_start: gets the moment at which a request is due, makes its measurement.
        on_end: gets the measurement of each request that ended, by whatever end.
    """

    def __init__(
        self,
        sender: Sender,
        asks: Iterator[Ask],
        on_start: Callable[[float], Measurement],
        on_end: Callable[[Measurement], object],
    ) -> None:
        self._sender = sender
        self._asks = asks
        self._on_start = on_start
        self._on_end = on_end
        self._sent = 0
        self._successes = 0
        self._first_failures = 0
        self._stop_at = float("inf")
        self._request_limit: int | None = None
        self._all_fail = _ALL_FAIL
        self._tasks: set[asyncio.Task[Any]] = set()
        self.in_flight = 0
        self.given_up = 0
        """Requests that were under way when the loop was cancelled."""

        self.all_failed = False
        """Whether it ended early since its first requests all failed and no other succeeded.

        Only those count that were sent first: a server that is full refuses at once what comes next, long before it has
        answered what it took.
        """

    async def closed(self, streams: int, extent: Extent, ramp_s: float = 0) -> None:
        """So many streams at once, each of which sends its next request when its last is answered.

        A stream whose request failed pauses before its next, for 50 ms at first and for 1 s at most.

        Args:
            ramp_s: seconds over which the streams begin, so that they do not ask in step.
        """
        self._begin(extent, max(_ALL_FAIL, 2 * streams))
        began = time.perf_counter()
        begins = (began + ramp_s * number / streams for number in range(streams))
        self._tasks.update(asyncio.ensure_future(self._stream(begin)) for begin in begins)
        await self._finish()

    async def open(self, arrivals: Arrivals, extent: Extent, seed: int = 0) -> None:
        """Requests as they arrive, whether or not others are answered; latencies count from when each was due."""
        self._begin(extent, _ALL_FAIL)
        self._tasks.add(asyncio.ensure_future(self._dispatch(arrivals, seed)))
        await self._finish()

    def _begin(self, extent: Extent, all_fail: int) -> None:
        self._stop_at = time.perf_counter() + (float("inf") if extent.seconds is None else extent.seconds)
        self._request_limit = extent.requests
        self._all_fail = all_fail

    async def _finish(self) -> None:
        """Wait for all tasks, also for those that others start meanwhile; when cancelled, give them up."""
        try:
            while self._tasks:
                await asyncio.gather(*self._tasks)
                self._tasks = {task for task in self._tasks if not task.done()}
        finally:
            self.given_up = self.in_flight
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()

    def _next(self) -> Ask | None:
        """What to send next; None where this is over."""
        if self.all_failed or time.perf_counter() >= self._stop_at:
            return None
        if self._request_limit is not None and self._sent >= self._request_limit:
            return None
        ask = next(self._asks, None)
        if ask is not None:
            self._sent += 1
        return ask

    async def _stream(self, begin: float) -> None:
        await _until(begin)
        failures = 0
        while True:
            ask = self._next()
            if ask is None:
                return
            if await self._one(ask, time.perf_counter(), self._sent):
                failures = 0
            else:
                pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**failures)
                failures += 1
                await asyncio.sleep(min(pause, max(0.0, self._stop_at - time.perf_counter())))

    async def _dispatch(self, arrivals: Arrivals, seed: int) -> None:
        began = time.perf_counter()
        for offset in arrivals.due(seed):
            due = began + offset
            if due >= self._stop_at:
                return
            await _until(due)
            if self.in_flight >= MAX_IN_FLIGHT:
                await asyncio.wait(self._tasks - {asyncio.current_task()}, return_when=asyncio.FIRST_COMPLETED)
            ask = self._next()
            if ask is None:
                return
            task = asyncio.ensure_future(self._one(ask, due, self._sent))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, ask: Ask, due: float, number: int) -> bool:
        """Send one request; whether it succeeded.

        Args:
            number: of the requests sent, beginning with 1.
        """
        measurement = self._on_start(due)
        self.in_flight += 1
        await self._sender.send(ask, measurement)
        self.in_flight -= 1
        if measurement.succeeded:
            self._successes += 1
        else:
            self._first_failures += number <= self._all_fail
            self.all_failed = not self._successes and self._first_failures >= self._all_fail
        self._on_end(measurement)
        return measurement.succeeded


async def _until(moment: float) -> None:
    wait = moment - time.perf_counter()
    if wait > 0:
        await asyncio.sleep(wait)
