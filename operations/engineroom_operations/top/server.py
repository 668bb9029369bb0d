"""A server of OpenAI's API: what its `/metrics` says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping

import aiohttp

from ..scraping.exposition import Histogram, UnreadableMetrics
from ..scraping.snapshot import GPU, MetricsSnapshot, ModelResidence
from ..scraping.vocabulary import MetricVocabulary
from ..scraping.window import Window
from ..targets.connection import describe
from ..targets.target import RemoteTarget
from ..terminal_text import one_line
from .history import StateHistory
from .reading import Percentiles, Reading

RATE_S = 5
"""Rates are over this many seconds, or the interval where that is longer: over less they would only jump."""

_WORKER_ID = "X-Runpod-Worker-Id"
_STALE_S = 20
"""A worker behind a balancer whose figures are older counts as gone."""


class ServerMonitor:
    """Looks at one server. Behind a balancer of RunPod's each worker has a window of its own, by the worker's id.

    Args:
        session: of `targets.connection.open_session`; whoever opened it closes it.
        look_s: seconds that a look may take.
    """

    def __init__(
        self, target: RemoteTarget, session: aiohttp.ClientSession, vocabulary: MetricVocabulary, look_s: float
    ) -> None:
        self._target = target
        self._session = session
        self._vocabulary = vocabulary
        self._timeout = aiohttp.ClientTimeout(total=look_s)
        self._windows: dict[str, Window] = {}
        self._history = StateHistory()
        self._restarts = 0

    async def look(self) -> Reading:
        """The server as it is now; never raises for what a server does."""
        reading = Reading(self._target.name, self._target.address.url, time.time())
        try:
            await self._scrape(reading)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reading.state = "away"
            reading.reason = describe(error, self._target)
        reading.for_s = self._history.note(reading.state)
        reading.restarts = self._restarts
        return reading

    async def _scrape(self, reading: Reading) -> None:
        url = f"{self._target.address.url}/metrics"
        async with self._session.get(url, timeout=self._timeout, headers={"Accept": "text/plain"}) as response:
            body = await response.text(errors="replace")
            worker = response.headers.get(_WORKER_ID, "")
            status = response.status
        if status != 200:
            await self._without_metrics(reading, status)
            return
        try:
            snapshot = self._vocabulary.read(body, time.monotonic())
        except UnreadableMetrics as error:
            reading.state = "up"
            reading.reason = f"its /metrics cannot be read: {one_line(str(error), 80)}"
            return
        window = self._windows.setdefault(worker, Window())
        self._restarts += window.add(snapshot)
        self._forget_the_gone(snapshot.at)
        fill(reading, list(self._windows.values()))
        reading.state = "up"
        if snapshot.says_nothing:
            reading.reason = (
                "no name in its /metrics is known here; those of an engine come with its package (engineroom-<engine>)"
            )
        if snapshot.ready is False:
            reading.state = "not ready"
            reading.reason = await self._health_reason()

    async def _without_metrics(self, reading: Reading, status: int) -> None:
        if status in (401, 403):
            reading.state = "up"
            source = self._target.key_source
            given = f"refuses the key from {source}" if source else "wants a key: --api-key, or its usual variable"
            reading.reason = f"its /metrics {given}"
            return
        if status >= 500:
            reading.state = "not ready"
            reading.reason = f"its /metrics answers {status}"
            return
        reading.state = "up"
        reading.reason = f"it has no /metrics ({status}), so there are no figures"

    async def _health_reason(self) -> str:
        """What our door says of why it is not ready."""
        try:
            async with self._session.get(f"{self._target.address.url}/health", timeout=self._timeout) as response:
                body = await response.json(content_type=None)
            return one_line(str(body["reason"]), 80)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, json.JSONDecodeError, KeyError, TypeError):
            return ""

    def _forget_the_gone(self, now: float) -> None:
        if len(self._windows) > 1:
            self._windows = {
                worker: window
                for worker, window in self._windows.items()
                if window.last is not None and now - window.last.at < _STALE_S
            }


def fill(reading: Reading, windows: list[Window]) -> None:
    """The figures of a target's servers, of most targets one, taken together."""
    snapshots = [window.last for window in windows if window.last is not None]
    reading.running = _sum(snapshot.gauges.get("requests_running") for snapshot in snapshots)
    reading.waiting = _sum(snapshot.gauges.get("requests_waiting") for snapshot in snapshots)
    reading.prompt_tokens_per_s = _sum(window.rate("prompt_tokens", RATE_S) for window in windows)
    reading.completion_tokens_per_s = _sum(window.rate("completion_tokens", RATE_S) for window in windows)
    reading.preemptions_per_s = _sum(window.rate("preemptions", RATE_S) for window in windows)
    _fill_statuses(reading, windows, snapshots)
    reading.time_to_first_token = _percentiles(window.histogram("time_to_first_token") for window in windows)
    reading.inter_token = _percentiles(window.histogram("inter_token") for window in windows)
    reading.request_time = _percentiles(window.histogram("request_time") for window in windows)
    reading.cache_usage = _mean(snapshot.gauges.get("cache_usage") for snapshot in snapshots)
    reading.prefix_hits = _mean(window.prefix_hit_share for window in windows)
    reading.engine_memory = _sum(snapshot.engine_memory for snapshot in snapshots)
    reading.engine_cpus = _sum(window.cpu(RATE_S) for window in windows)
    gpus: list[GPU] = [gpu for snapshot in snapshots for gpu in snapshot.gpus]
    reading.gpus = gpus
    reading.models = sorted({model for snapshot in snapshots for model in snapshot.models})
    reading.residence = _residence(snapshots)


def _fill_statuses(reading: Reading, windows: list[Window], snapshots: list[MetricsSnapshot]) -> None:
    if not any(snapshot.statuses for snapshot in snapshots):
        return
    rates: dict[str, float] = {}
    for window in windows:
        for status, rate in window.status_rate(RATE_S).items():
            rates[status] = rates.get(status, 0.0) + rate
    counts: dict[str, float] = {}
    for snapshot in snapshots:
        for status, count in snapshot.statuses.items():
            counts[status] = counts.get(status, 0.0) + count
    if rates:
        reading.requests_per_s = sum(rates.values())
        reading.errors_per_s = _errors(rates)
    reading.errors = _errors(counts)
    reading.clients_left = counts.get("499", 0.0)


def _residence(snapshots: list[MetricsSnapshot]) -> list[ModelResidence]:
    """Each model once. Of several workers its counts are taken together, and the phase is that of one which has it."""
    models: dict[str, ModelResidence] = {}
    for snapshot in snapshots:
        for model in snapshot.residence:
            other = models.get(model.name)
            models[model.name] = model if other is None else _together(other, model)
    return list(models.values())


def _together(one: ModelResidence, other: ModelResidence) -> ModelResidence:
    memory = [each.memory for each in (one, other) if each.memory is not None and each.phase != "absent"]
    return ModelResidence(
        one.name,
        one.phase if one.phase != "absent" else other.phase,
        running=one.running + other.running,
        waiting=one.waiting + other.waiting,
        longest_wait_s=max(one.longest_wait_s, other.longest_wait_s),
        memory=sum(memory) if memory else one.memory,
        loads=one.loads + other.loads,
        unloads=one.unloads + other.unloads,
        failures=one.failures + other.failures,
    )


def _errors(by_status: Mapping[str, float]) -> float:
    return sum(value for status, value in by_status.items() if status[:1] in "45" and status != "499")


def _percentiles(histograms: Iterable[Histogram | None]) -> Percentiles | None:
    """Of all samples together; None where nothing measures them."""
    known = [histogram for histogram in histograms if histogram is not None]
    if not known:
        return None
    whole = known[0]
    for histogram in known[1:]:
        whole = whole.plus(histogram)
    return Percentiles(whole.percentile(50), whole.percentile(90), whole.percentile(99))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
