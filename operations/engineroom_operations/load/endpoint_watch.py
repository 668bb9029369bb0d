"""The workers of an endpoint during a run: which requests met a cold start, and how many seconds there were to pay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from .failure import RequestFailure
from .http_client import HTTPClient
from .measurement import Measurement
from .sender import Ask, Sender

_INTERVAL_S = 1.0
_TIMEOUT_S = 10.0

_STARTING = ("initializing",)
_AT_WORK = ("running",)
_WAITING = ("idle",)
_COLD = "sent while no worker was ready"


class _EndpointHealth(msgspec.Struct):
    workers: dict[str, int]
    jobs: dict[str, int] = {}


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


class EndpointWatch:
    """Looks at an endpoint's workers every second, through the queue's `/health`, which starts none.

    Args:
        client: of the endpoint, `https://api.runpod.ai/v2/ID`; whoever made it closes it.

    Attributes:
        cold: requests that were sent while no worker was ready.
        peak_workers: the most that were there at once, whatever their state.
        throttled_s: seconds for which workers waited for a GPU to be free.
    """

    def __init__(self, client: HTTPClient) -> None:
        self._client = client
        self._workers: Mapping[str, int] | None = None
        self._looked = 0.0
        self.seconds = WorkerSeconds()
        self.cold = 0
        self.peak_workers = 0
        self.throttled_s = 0.0
        self.failure: RequestFailure | None = None

    @property
    def ready(self) -> bool | None:
        """Whether a worker was ready at the last look; None before the first."""
        if self._workers is None:
            return None
        return any(self._workers.get(state, 0) for state in ("ready", "idle", "running"))

    def note_sent(self, measurement: Measurement) -> None:
        """Call it when a request is sent: where no worker is ready, it waits for one to start."""
        if self.ready is False:
            self.cold += 1
            measurement.extra[_COLD] = 1.0

    @staticmethod
    def note_ended(measurement: Measurement) -> None:
        """Call it when a request has ended: of one that met a cold start, its time to the first token is kept apart."""
        if measurement.extra.pop(_COLD, None) and measurement.succeeded:
            measurement.extra["cold start"] = measurement.ttft_s

    async def look(self) -> None:
        """Look once, and count the seconds since the last look as spent in the states of then."""
        try:
            response = await self._client.fetch("GET", "/health", timeout_s=_TIMEOUT_S)
            workers = msgspec.json.decode(response.body, type=_EndpointHealth).workers
        except RequestFailure as failure:
            self.failure = failure
            return
        except msgspec.DecodeError:
            self.failure = RequestFailure("not the API", "its /health is not that of an endpoint of RunPod")
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
                await asyncio.sleep(_INTERVAL_S)
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
        self.watch.note_sent(measurement)
        await self._sender.send(ask, measurement)
        self.watch.note_ended(measurement)

    async def prepare(self, streams: int) -> None:
        await self._sender.prepare(streams)

    async def close(self) -> None:
        await self._sender.close()


def _sum(workers: Mapping[str, int], states: tuple[str, ...]) -> int:
    return sum(workers.get(state, 0) for state in states)
