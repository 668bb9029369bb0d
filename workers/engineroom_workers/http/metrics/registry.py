"""What the door measures: Prometheus' metrics, and the same as JSON with percentiles."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from engineroom.openai.usage import count_events

from .histograms import HistogramSeries, UnlockedHistogram

_REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)

WINDOW_S = 300
"""How far back percentiles look."""

_CLIENT_LEFT = 499
"""The status of a request whose client left before it had a response."""

_MAX_SAMPLES = 8192
"""How many samples are kept; under more load they look less far back."""


class MetricsRegistry:
    """The door's measurements.

    Labels are bounded: only served models and routes, and keys by their names, ever become one.

    running: requests that are being served now, those that wait in the queue included.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="engineroom", registry=self._registry)
        self._requests = _Series(self._counter("requests", "Requests answered.", "route", "status", "model", "key"))
        self.running = 0
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
        self._prompt_tokens = _Series(
            self._counter("prompt_tokens", "Prompt tokens, as responses report them.", "model", "key")
        )
        self._completion_tokens = _Series(
            self._counter(
                "completion_tokens",
                "Completion tokens, as responses report them; otherwise the events of streams.",
                "model",
                "key",
            )
        )
        self._cache_requests = _Series(self._counter("cache_requests", "Requests by the cache's result.", "result"))
        self._by_status: Tally[str] = Tally()
        self._tokens: Tally[str] = Tally()
        self._by_cache_result: Tally[str] = Tally()
        names = ("time_to_first_token", "inter_token", "request", "cached", "left", "error", "queue")
        self._recent = {name: RecentSamples() for name in names}

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def add_gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """One more gauge, read when somebody looks."""
        Gauge(f"engineroom_{name}", description, registry=self._registry).set_function(value)

    def request_started(self) -> None:
        """Note that a request has come; `request_finished` notes its end."""
        self.running += 1

    def request_finished(
        self, route: str, status: int, model: str, key: str, seconds: float, cached: bool = False
    ) -> None:
        """Note the end of a request.

        Its time counts among those of its kind, so that neither refusals nor what the cache gave make the engine look
        quick.

        Args:
            status: 499, nginx's code, for a client that left before it had a response.
            key: the name of whose request it was.
            seconds: since it arrived.
            cached: whether the answer came out of the cache.
        """
        self.running -= 1
        self._requests[route, str(status), model, key].inc()
        self._by_status[str(status)] += 1
        outcome = _outcome(status, cached)
        self._request_seconds.series(route, model, outcome).observe(seconds)
        self._recent["request" if outcome == "answered" else outcome].add(seconds)

    def request_queued(self, seconds: float) -> None:
        """Note how long a request waited for its turn."""
        self._queue_seconds.series().observe(seconds)
        self._recent["queue"].add(seconds)

    def cache_asked(self, result: str) -> None:
        """Note what the cache had for a request: `hit`, `miss`, `collapsed` or `bypass`."""
        self._cache_requests[(result,)].inc()
        self._by_cache_result[result] += 1

    def time_stream(self, route: str, model: str, started: float) -> StreamTimer:
        """What times the pieces of one stream, whose request arrived at `started` by `time.perf_counter`."""
        return StreamTimer(
            started,
            self._first_token_seconds.series(route, model),
            self._inter_token_seconds.series(route, model),
            self._recent["time_to_first_token"],
            self._recent["inter_token"],
        )

    def token_counter(self, model: str, key: str) -> TokenCounter:
        """What counts the tokens of one request, while its response streams and at its end."""
        return TokenCounter(self._prompt_tokens[model, key], self._completion_tokens[model, key], self._tokens)

    def summary(self) -> dict[str, Any]:
        """Counts since the start, and percentiles in seconds over the last five minutes.

        Those of `request` are of answers that the engine gave; `cached`, `left` and `error` stand apart.
        """
        return {
            "window_s": WINDOW_S,
            "running_now": self.running,
            "requests": {"total": sum(self._by_status.values()), "by_status": dict(self._by_status)},
            "tokens": {"prompt": self._tokens["prompt"], "completion": self._tokens["completion"]},
            "cache": dict(self._by_cache_result),
            "seconds": {name: recent.summary() for name, recent in self._recent.items()},
            "process": {"cpu_s": round(time.process_time(), 3), "memory_mb": _memory_mb()},
        }

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"engineroom_{name}", description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, bounds: tuple[float, ...], *labels: str) -> UnlockedHistogram:
        histogram = UnlockedHistogram(f"engineroom_{name}", description, bounds, labels)
        self._registry.register(histogram)
        return histogram


class _Series(dict[tuple[str, ...], Counter]):
    """The series of a counter by their labels' values: the library's own look-up takes a lock."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter

    def __missing__(self, values: tuple[str, ...]) -> Counter:
        series = self[values] = self._counter.labels(*values)
        return series


class TokenCounter:
    """Counts one request's tokens, in about a microsecond a call.

    A counter cannot go back: where the engine's own figure is smaller in the end than what was counted on the way,
    the difference stays.
    """

    __slots__ = ("_completion", "_counted_completion", "_counted_prompt", "_prompt", "_totals")

    def __init__(self, prompt: Counter, completion: Counter, totals: Tally[str]) -> None:
        self._prompt = prompt
        self._completion = completion
        self._totals = totals
        self._counted_prompt = 0
        self._counted_completion = 0

    def update(self, prompt: int, completion: int) -> None:
        """Count what has come since the last call.

        Args:
            prompt, completion: the request's tokens so far.
        """
        if prompt > self._counted_prompt:
            self._prompt.inc(prompt - self._counted_prompt)
            self._totals["prompt"] += prompt - self._counted_prompt
            self._counted_prompt = prompt
        if completion > self._counted_completion:
            self._completion.inc(completion - self._counted_completion)
            self._totals["completion"] += completion - self._counted_completion
            self._counted_completion = completion


class StreamTimer:
    """Times one stream, in about a microsecond a piece.

    Args:
        started: when its request arrived, by `time.perf_counter`.
    """

    __slots__ = ("_first_token", "_inter_token", "_previous", "_recent_first", "_recent_inter", "_started")

    def __init__(
        self,
        started: float,
        first_token: HistogramSeries,
        inter_token: HistogramSeries,
        recent_first: RecentSamples,
        recent_inter: RecentSamples,
    ) -> None:
        self._started = started
        self._first_token = first_token
        self._inter_token = inter_token
        self._recent_first = recent_first
        self._recent_inter = recent_inter
        self._previous: float | None = None

    def add(self, body: bytes) -> float:
        """Note a piece of the body, of whole events; the time of it, by `time.perf_counter`."""
        now = time.perf_counter()
        events = count_events(body)
        if events:
            self._note(now, events)
        return now

    def add_pieces(self, pieces: Sequence[tuple[float, int]]) -> float:
        """Note pieces that another process has sent: of each the time and its events. The time now."""
        for at, events in pieces:
            self._note(at, events)
        return time.perf_counter()

    def _note(self, now: float, events: int) -> None:
        previous = self._previous
        self._previous = now
        if previous is None:
            self._first_token.observe(now - self._started)
            self._recent_first.add(now - self._started, now)
        else:
            gap = (now - previous) / events
            self._inter_token.observe(gap)
            self._recent_inter.add(gap, now)


class RecentSamples:
    """The samples of the last five minutes, at most 8192 of them.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MAX_SAMPLES)

    def add(self, value: float, now: float | None = None) -> None:
        """Note a sample; `now` by the clock, if the caller has just read it."""
        self._samples.append((self._clock() if now is None else now, value))

    def summary(self) -> dict[str, float | int | None]:
        """`count`, and `p50`, `p95`, `p99` by nearest rank; None where there is no sample."""
        since = self._clock() - WINDOW_S
        values = sorted(value for at, value in self._samples if at >= since)
        return {"count": len(values)} | {f"p{share}": _percentile(values, share) for share in (50, 95, 99)}


def _outcome(status: int, cached: bool) -> str:
    if status == _CLIENT_LEFT:
        return "left"
    if status >= 400:
        return "error"
    return "cached" if cached else "answered"


def _percentile(values: Sequence[float], share: int) -> float | None:
    return round(values[max(0, math.ceil(len(values) * share / 100) - 1)], 6) if values else None


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
