"""What the door measures: Prometheus' metrics, and the same as JSON with percentiles."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from .series import WINDOW_S, CounterSeries, DurationSeries, RecentSamples, UnlockedCounter, UnlockedHistogram

_REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)

_CLIENT_LEFT = 499
"""The status of a request whose client left before it had a response."""


class MeasuredRequest(Protocol):
    """A request that is being served, which may keep for a while what it has measured."""

    def catch_up(self) -> None:
        """Hand over what has been measured so far."""


class MetricsRegistry:
    """The door's measurements.

    Labels are bounded: only served models and routes, and keys by their names, ever become one.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="engineroom", registry=self._registry)
        self._running: set[MeasuredRequest] = set()
        self._requests = self._counter("requests", "Requests answered.", "route", "status", "model", "key")
        self.add_gauge("requests_running", "Requests being served now.", lambda: self.running)
        self.add_gauge("process_tasks", "Tasks in the door's event loop.", _count_tasks)
        self._request_seconds = self._histogram(
            "request_seconds",
            "Seconds from a request to its end, by outcome: answered, cached, left (by its client), or an error.",
            _REQUEST_BUCKETS,
            "route",
            "model",
            "outcome",
        )
        self._first_token_seconds = self._histogram(
            "time_to_first_token_seconds",
            "Seconds from a request to the first event of its stream (TTFT).",
            _REQUEST_BUCKETS,
            "route",
            "model",
        )
        self._inter_token_seconds = self._histogram(
            "inter_token_seconds",
            "Seconds between two pieces of a stream, by the tokens in the later one.",
            _TOKEN_BUCKETS,
            "route",
            "model",
        )
        self._queue_seconds = self._histogram(
            "queue_seconds", "Seconds that requests waited in the queue, of those that had to wait.", _REQUEST_BUCKETS
        )
        self._prompt_tokens = self._counter("prompt_tokens", "Prompt tokens, as responses report them.", "model", "key")
        self._completion_tokens = self._counter(
            "completion_tokens",
            "Completion tokens, as responses report them; otherwise the events of streams.",
            "model",
            "key",
        )
        self._cache_requests = self._counter("cache_requests", "Requests by the cache's result.", "result")
        names = ("time_to_first_token", "inter_token", "request", "cached", "left", "error", "queue")
        self._recent = {name: RecentSamples() for name in names}
        self._queued = DurationSeries(self._queue_seconds.series(), self._recent["queue"])
        self._ends: dict[tuple[str, int, str, str, bool], _EndSeries] = {}
        self._streams: dict[tuple[str, str], _StreamSeries] = {}

    @property
    def running(self) -> int:
        """Requests that are being served now, those that wait in the queue included."""
        return len(self._running)

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        self._catch_up()
        return generate_latest(self._registry).decode()

    def add_gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """One more gauge, read when somebody looks."""
        Gauge(f"engineroom_{name}", description, registry=self._registry).set_function(value)

    def request_started(self, request: MeasuredRequest) -> None:
        """Note that a request has come; `request_finished` notes its end. Until then it is asked to catch up before
        anybody sees a figure."""
        self._running.add(request)

    def request_finished(
        self,
        request: MeasuredRequest,
        route: str,
        status: int,
        model: str,
        key: str,
        started: float,
        cached: bool = False,
    ) -> None:
        """Note the end of a request, which has caught up.

        Its time counts among those of its kind, so that neither refusals nor what the cache gave make the engine look
        quick.

        Args:
            status: 499, nginx's code, for a client that left before it had a response.
            key: the name of whose request it was.
            started: when it arrived, by `time.perf_counter`.
            cached: whether the answer came out of the cache.
        """
        self._running.discard(request)
        labels = (route, status, model, key, cached)
        series = self._ends.get(labels)
        if series is None:
            series = self._ends[labels] = self._end_series(*labels)
        series.ended.value += 1
        now = time.perf_counter()
        series.seconds.add(now, now - started)

    def request_queued(self, seconds: float) -> None:
        """Note how long a request waited for its turn."""
        self._queued.add(time.perf_counter(), seconds)

    def cache_asked(self, result: str) -> None:
        """Note what the cache had for a request: `hit`, `miss`, `collapsed` or `bypass`."""
        self._cache_requests.series(result).value += 1

    def time_stream(self, route: str, model: str, started: float) -> StreamTimer:
        """What times the pieces of one stream, whose request arrived at `started` by `time.perf_counter`."""
        series = self._streams.get((route, model))
        if series is None:
            series = self._streams[route, model] = self._stream_series(route, model)
        return StreamTimer(started, series.first_token, series.inter_token)

    def token_counter(self, model: str, key: str) -> TokenCounter:
        """What counts the tokens of one request, while its response streams and at its end."""
        return TokenCounter(self._prompt_tokens.series(model, key), self._completion_tokens.series(model, key))

    def summary(self) -> dict[str, Any]:
        """Counts since the start, and percentiles in seconds over the last five minutes.

        Those of `request` are of answers that the engine gave; `cached`, `left` and `error` stand apart.
        """
        self._catch_up()
        by_status = self._requests.sums("status")
        return {
            "window_s": WINDOW_S,
            "running_now": self.running,
            "requests": {"total": sum(by_status.values()), "by_status": by_status},
            "tokens": {"prompt": self._prompt_tokens.total(), "completion": self._completion_tokens.total()},
            "cache": self._cache_requests.sums("result"),
            "seconds": {name: recent.summary() for name, recent in self._recent.items()},
            "process": {"cpu_s": round(time.process_time(), 3), "memory_mb": _memory_mb()},
        }

    def _catch_up(self) -> None:
        for request in self._running:
            request.catch_up()

    def _end_series(self, route: str, status: int, model: str, key: str, cached: bool) -> _EndSeries:
        outcome = _outcome(status, cached)
        histogram = self._request_seconds.series(route, model, outcome)
        recent = self._recent["request" if outcome == "answered" else outcome]
        ended = self._requests.series(route, str(status), model, key)
        return _EndSeries(ended, DurationSeries(histogram, recent))

    def _stream_series(self, route: str, model: str) -> _StreamSeries:
        first_token = self._first_token_seconds.series(route, model)
        inter_token = self._inter_token_seconds.series(route, model)
        return _StreamSeries(
            DurationSeries(first_token, self._recent["time_to_first_token"]),
            DurationSeries(inter_token, self._recent["inter_token"]),
        )

    def _counter(self, name: str, description: str, *labels: str) -> UnlockedCounter:
        counter = UnlockedCounter(f"engineroom_{name}", description, labels)
        self._registry.register(counter)
        return counter

    def _histogram(self, name: str, description: str, bounds: tuple[float, ...], *labels: str) -> UnlockedHistogram:
        histogram = UnlockedHistogram(f"engineroom_{name}", description, bounds, labels)
        self._registry.register(histogram)
        return histogram


class StreamTimer:
    """Times one stream.

    Args:
        started: when its request arrived, by `time.perf_counter`.
        first_token, inter_token: what its times are noted in.
    """

    __slots__ = ("_first_token", "_inter_token", "_previous", "_started")

    def __init__(self, started: float, first_token: DurationSeries, inter_token: DurationSeries) -> None:
        self._started = started
        self._first_token = first_token
        self._inter_token = inter_token
        self._previous: float | None = None

    def add(self, pieces: Iterable[tuple[float, int]]) -> None:
        """Note pieces of the body, in their order: of each when it came, by `time.perf_counter`, and how many events
        it has. One without any is none."""
        previous = self._previous
        gaps = []
        for at, events in pieces:
            if not events:
                continue
            if previous is None:
                self._first_token.add(at, at - self._started)
            else:
                gaps.append((at, (at - previous) / events))
            previous = at
        self._previous = previous
        if gaps:
            self._inter_token.add_all(gaps)


class TokenCounter:
    """Counts one request's tokens, while its response streams and at its end.

    A counter cannot go back: where the engine's own figure is smaller in the end than what was counted on the way,
    the difference stays.

    Args:
        prompt, completion: what they are counted in.
    """

    __slots__ = ("_completion", "_counted_completion", "_counted_prompt", "_prompt")

    def __init__(self, prompt: CounterSeries, completion: CounterSeries) -> None:
        self._prompt = prompt
        self._completion = completion
        self._counted_prompt = 0
        self._counted_completion = 0

    def update(self, prompt: int, completion: int) -> None:
        """Count what has come since the last call.

        Args:
            prompt, completion: the request's tokens so far.
        """
        if prompt > self._counted_prompt:
            self._prompt.value += prompt - self._counted_prompt
            self._counted_prompt = prompt
        if completion > self._counted_completion:
            self._completion.value += completion - self._counted_completion
            self._counted_completion = completion


class _EndSeries(NamedTuple):
    """What the ends of requests of one kind are noted in."""

    ended: CounterSeries
    seconds: DurationSeries


class _StreamSeries(NamedTuple):
    """What the times of streams of one kind are noted in."""

    first_token: DurationSeries
    inter_token: DurationSeries


def _outcome(status: int, cached: bool) -> str:
    if status == _CLIENT_LEFT:
        return "left"
    if status >= 400:
        return "error"
    return "cached" if cached else "answered"


def _count_tasks() -> int:
    """How many tasks there are in the loop that asks."""
    return len(asyncio.all_tasks())


def _memory_mb() -> float | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
