"""An endpoint of RunPod as the target of a run: how its requests are sent, its cold starts, and what it cost."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from engineroom.errors import SettingsError
from engineroom.runpod_account import RunPodAccount
from engineroom.settings import Environment

from ..catalog.current import current
from ..load.endpoint_watch import EndpointWatch, WatchedSender, queue_workers
from ..load.failure import RequestFailure
from ..load.http_client import HTTPClient
from ..load.job_sender import JobSender
from ..load.sender import Sender
from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..runpod_api.resources import EndpointWorker
from ..targets.target import RemoteTarget
from .run_cost import HourlyPrice, cost, price_of_worker

T = TypeVar("T")

_API_INTERVAL_S = 5.0
"""Seconds between two looks by the management API, which allows an account few requests a minute."""


class EndpointRun:
    """A run against an endpoint.

    Args:
        target: a queue or a load-balancing endpoint.
        options: of the command: `via`, `worker_price`, `timeout`.
        client: of the endpoint itself; whoever made it closes it.
    """

    def __init__(self, target: RemoteTarget, options: Mapping[str, Any], client: HTTPClient) -> None:
        self._target = target
        self._options = options
        self._account = RunPodAccount.load(Environment.load())
        self._endpoint = client
        self._stack = contextlib.AsyncExitStack()
        self._api: RunPodClient | None = None
        self._gpu_types: dict[str, int] = {}
        self._watch: EndpointWatch | None = None

    async def open(self) -> None:
        """Begin to look after the endpoint's workers, where they can be seen."""
        if self._account.runpod_api_key is not None:
            self._api = await self._stack.enter_async_context(RunPodClient(self._account))
        if self._target.address.kind == "queue":
            self._watch = EndpointWatch(partial(queue_workers, self._endpoint))
        elif self._api is not None:
            self._watch = EndpointWatch(self._workers_by_state, _API_INTERVAL_S)
        if self._watch is not None:
            await self._stack.enter_async_context(self._watch.watching())

    async def timed(self, answer: Awaitable[T]) -> T:
        """The answer to a request that is made before the run: it may meet the cold start."""
        return await answer if self._watch is None else await self._watch.timed(answer)

    def sender(self, openai: Sender, model: str) -> Sender:
        """What sends the run's requests.

        Args:
            openai: sends them by OpenAI's API.
        """
        sender = openai
        if self._options["via"] != "openai":
            via = self._options["via"]
            sender = JobSender(self._endpoint, model, route=via, timeout_s=self._options["timeout"])
        return sender if self._watch is None else WatchedSender(sender, self._watch)

    async def close(self, tokens: int) -> list[str]:
        """End it; what a reader of the report should know of the endpoint.

        Args:
            tokens: of prompts and answers, of the whole run.
        """
        async with self._stack:
            return await self._notes(tokens)

    async def _notes(self, tokens: int) -> list[str]:
        watch = self._watch
        if watch is None:
            return ["Cold starts and cost are not known: RUNPOD_API_KEY lets the endpoint's workers be seen."]
        await watch.look()
        notes = [] if watch.failure is None else [f"The endpoint's workers could not always be seen: {watch.failure}."]
        notes.append(_cold_starts(watch))
        if self._options["via"] == "run":
            notes.append("Tokens are seen when a job's stream is asked for, ten times a second: the gaps are those.")
        workers = "one worker was" if watch.peak_workers == 1 else f"{watch.peak_workers} workers were"
        notes.append(f"At most {workers} there at once.")
        if watch.throttled_s >= 1:
            notes.append(f"Workers waited {watch.throttled_s:.0f} s for GPUs to be free (throttled).")
        price = await self._price()
        if price is None:
            return [*notes, "The cost is not known: --worker-price takes the price of a worker for an hour, in USD."]
        return [*notes, *cost(watch.seconds, price, tokens).lines()]

    async def _price(self) -> HourlyPrice | None:
        given = self._options["worker_price"]
        if given is not None:
            return HourlyPrice(given, "as given")
        if self._api is None:
            return None
        with contextlib.suppress(RequestFailure):
            await self._workers_by_state()
        if not self._gpu_types:
            return None
        prices = await current(self._account)
        return price_of_worker(prices.catalog, prices.note, self._gpu_types, max(self._gpu_types.values()))

    async def _workers_by_state(self) -> Mapping[str, int]:
        assert self._api is not None
        try:
            workers = (await self._api.workers(self._target.address.runpod_id)).workers
        except (RunPodApiError, SettingsError) as error:
            raise RequestFailure("unreachable", str(error)) from error
        self._note_gpus(workers)
        counts: dict[str, int] = {}
        for worker in workers:
            state = worker.status.lower()
            if state == "idle" and self._target.address.kind == "load-balancer":
                # It is up, and may be answering: no queue tells RunPod of that.
                state = "running"
            counts[state] = counts.get(state, 0) + 1
        return counts

    def _note_gpus(self, workers: list[EndpointWorker]) -> None:
        for worker in workers:
            if worker.gpu_type_id:
                self._gpu_types[worker.gpu_type_id] = max(worker.gpu_count, 1)


def _cold_starts(watch: EndpointWatch) -> str:
    if not watch.cold:
        return "Cold starts: no request was sent while no worker was ready."
    many = "one request was" if watch.cold == 1 else f"{watch.cold} requests were"
    waited = _waited(watch.cold_ttfts_s)
    return (
        f"Cold starts: {many} sent while no worker was ready{waited}. Those before the stages and of the warm-up are "
        "in no other figure."
    )


def _waited(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    if len(seconds) == 1:
        return f", and had the first token after {seconds[0]:.1f} s"
    return f", and had their first tokens after {min(seconds):.1f} to {max(seconds):.1f} s"
