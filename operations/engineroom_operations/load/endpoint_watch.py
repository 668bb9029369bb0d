"""The workers of an endpoint during a run: which requests met a cold start, and how many seconds there were to pay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import msgspec

from .answers import refusal
from .failure import RequestFailure
from .http_client import HTTPClient
from .measurement import Measurement
from .sender import Ask, Sender

_TIMEOUT_S = 10.0

T = TypeVar("T")

_STARTING = ("initializing",)
_AT_WORK = ("running",)
_WAITING = ("idle",)
_COLD = "sent while no worker was ready"


class _EndpointHealth(msgspec.Struct):
    workers: dict[str, int]


class WorkerSeconds(NamedTuple):
    """The sums of all workers' seconds in a state, over a time."""

    starting: float = 0.0
    at_work: float = 0.0
    idle: float = 0.0

    @property
    def least(self) -> float:
        """Seconds that are billed in any case: RunPod bills the start and the work."""
        return self.starting + self.at_work

    @property
    def most_billed(self) -> float:
        """Seconds that are billed where every idle worker is, as until its idle time-out, or where it is always on."""
        return self.least + self.idle


async def queue_workers(client: HTTPClient) -> Mapping[str, int]:
    """The workers of a queue endpoint by their state, from its `/health`; to ask starts none.

    Args:
        client: of the endpoint, `https://api.runpod.ai/v2/ID`.

    Raises:
        RequestFailure: RunPod does not say.
    """
    response = await client.fetch("GET", "/health", timeout_s=_TIMEOUT_S)
    if response.status != 200:
        raise refusal(response.status, response.headers, response.body)
    try:
        return msgspec.json.decode(response.body, type=_EndpointHealth).workers
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestFailure("not the API", "its /health is not that of an endpoint of RunPod") from None


class EndpointWatch:
    """Looks at an endpoint's workers again and again.

    Args:
        workers: how many there are now, by their state.
        interval_s: seconds between two looks.

    Attributes:
        cold: requests that were sent while no worker was ready.
        cold_ttfts_s: seconds to their first tokens, of those that were answered.
        peak_workers: the most that were there at once, whatever their state.
        throttled_s: seconds for which workers waited for a GPU to be free.
        failure: why the last look that failed did; None where none has.
    """

    def __init__(self, workers: Callable[[], Awaitable[Mapping[str, int]]], interval_s: float = 1.0) -> None:
        self._ask = workers
        self._interval_s = interval_s
        self._workers: Mapping[str, int] | None = None
        self._looked = 0.0
        self._answered = 0.0
        self.seconds = WorkerSeconds()
        self.cold = 0
        self.cold_ttfts_s: list[float] = []
        self.peak_workers = 0
        self.throttled_s = 0.0
        self.failure: RequestFailure | None = None

    @property
    def ready(self) -> bool | None:
        """Whether a worker was ready at the last look, or has answered since; None before the first look."""
        if self._workers is None:
            return None
        if self._answered > self._looked:
            return True
        return any(self._workers.get(state, 0) for state in ("ready", "idle", "running"))

    def note_sent(self, measurement: Measurement) -> None:
        """Call it when a request is sent: where no worker is ready, it waits for one to start."""
        if self.ready is False:
            self.cold += 1
            measurement.extra[_COLD] = 1.0

    def note_ended(self, measurement: Measurement) -> None:
        """Call it when a request has ended: of one that met a cold start, its time to the first token is kept apart."""
        if not measurement.succeeded:
            measurement.extra.pop(_COLD, None)
            return
        self._answered = measurement.ended
        if measurement.extra.pop(_COLD, None):
            measurement.extra["cold start"] = measurement.ttft_s
            self.cold_ttfts_s.append(measurement.ttft_s)

    async def timed(self, answer: Awaitable[T]) -> T:
        """An answer that nothing measures, to a request that is made now; one that meets a cold start is noted."""
        cold = self.ready is False
        began = time.perf_counter()
        result = await answer
        self._answered = time.perf_counter()
        if cold:
            self.cold += 1
            self.cold_ttfts_s.append(self._answered - began)
        return result

    async def look(self) -> None:
        """Look once, and count the seconds since the last look as spent in the states of then."""
        try:
            workers = await self._ask()
        except RequestFailure as failure:
            self.failure = failure
            return
        now = time.perf_counter()
        if self._workers is not None:
            self._add(self._workers, now - self._looked)
        self._workers = workers
        self._looked = now
        shown = {state: count for state, count in workers.items() if state != "ready"}
        self.peak_workers = max(self.peak_workers, sum(shown.values()))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look during the block, and once at its end."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(self._interval_s)
                await self.look()

        await self.look()
        task = asyncio.ensure_future(watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.look()

    def _add(self, workers: Mapping[str, int], passed: float) -> None:
        self.seconds = WorkerSeconds(
            self.seconds.starting + passed * _sum(workers, _STARTING),
            self.seconds.at_work + passed * _sum(workers, _AT_WORK),
            self.seconds.idle + passed * _sum(workers, _WAITING),
        )
        self.throttled_s += passed * workers.get("throttled", 0)


class WatchedSender(Sender):
    """A sender whose requests an endpoint's watch tells apart: `cold start` in a measurement's `extra` is the time to
    the first token, in seconds, of a request that was sent while no worker was ready.

    Args:
        sender: sends them; closed with this.
    """

    def __init__(self, sender: Sender, watch: EndpointWatch) -> None:
        self._sender = sender
        self.watch = watch

    async def send(self, ask: Ask, measurement: Measurement) -> None:
        self._sender.asks_for_usage = self.asks_for_usage
        self.watch.note_sent(measurement)
        await self._sender.send(ask, measurement)
        self.watch.note_ended(measurement)

    async def prepare(self, streams: int) -> None:
        await self._sender.prepare(streams)

    async def close(self) -> None:
        await self._sender.close()


def _sum(workers: Mapping[str, int], states: tuple[str, ...]) -> int:
    return sum(workers.get(state, 0) for state in states)
