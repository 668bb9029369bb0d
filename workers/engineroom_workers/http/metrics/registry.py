"""What the door measures: Prometheus' metrics, and the same as JSON with percentiles."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .percentiles import WINDOW_S, RecentSamples

if TYPE_CHECKING:
    from ..context import RequestContext

_REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)


class MetricsRegistry:
    """The door's measurements.

    Labels are bounded: only served models and routes, and keys by their names, ever become one.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="engineroom", registry=self._registry)
        self._requests = self._counter("requests", "Requests answered.", "route", "status", "model", "key")
        self._running = 0
        self.add_gauge("requests_running", "Requests being served now.", lambda: self._running)
        self.add_gauge("process_tasks", "Tasks in the door's event loop.", _count_tasks)
        self._request_seconds = self._histogram(
            "request_seconds", "Seconds from a request to the end of its answer.", _REQUEST_BUCKETS, "route", "model"
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
            "queue_seconds", "Seconds a request that had to wait waited for its turn.", _REQUEST_BUCKETS
        )
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts, as answers told them.", "model", "key")
        self._completion_tokens = self._counter(
            "completion_tokens",
            "Tokens generated: as answers told them, else the events of streams.",
            "model",
            "key",
        )
        self._cache_requests = self._counter("cache_requests", "Requests by what the cache had.", "result")
        self._by_status: Tally[str] = Tally()
        self._tokens: Tally[str] = Tally()
        self._by_cache_result: Tally[str] = Tally()
        names = ("time_to_first_token", "inter_token", "request", "queue")
        self._recent = {name: RecentSamples() for name in names}

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def add_gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """One more gauge, read when somebody looks."""
        Gauge(f"engineroom_{name}", description, registry=self._registry).set_function(value)

    def request_started(self) -> None:
        """Note that a request has come; `request_finished` notes its end."""
        self._running += 1

    def time_stream(self, context: RequestContext) -> StreamTimer:
        """What times the pieces of one request's stream."""
        return StreamTimer(
            context.started,
            self._first_token_seconds.labels(context.route, context.model),
            self._inter_token_seconds.labels(context.route, context.model),
            self._recent["time_to_first_token"],
            self._recent["inter_token"],
        )

    def count_tokens(self, context: RequestContext, prompt: int, completion: int) -> None:
        """Note tokens that have come since the last call for the same request."""
        labels = context.model, context.key.name
        self._prompt_tokens.labels(*labels).inc(prompt)
        self._completion_tokens.labels(*labels).inc(completion)
        self._tokens["prompt"] += prompt
        self._tokens["completion"] += completion

    def request_finished(self, context: RequestContext, status: int, now: float) -> None:
        """Note the end of a request.

        Args:
            status: 499, nginx's code, for a client that left before it had a response.
            now: by `time.perf_counter`.
        """
        self._running -= 1
        seconds = now - context.started
        self._requests.labels(context.route, str(status), context.model, context.key.name).inc()
        self._by_status[str(status)] += 1
        self._request_seconds.labels(context.route, context.model).observe(seconds)
        self._recent["request"].add(seconds, now)
        if context.queued:
            self._queue_seconds.observe(context.queued)
            self._recent["queue"].add(context.queued, now)
        if context.cache:
            self._cache_requests.labels(context.cache).inc()
            self._by_cache_result[context.cache] += 1

    def summary(self) -> dict[str, Any]:
        """Counts since the start, and percentiles in seconds over the last five minutes."""
        return {
            "window_s": WINDOW_S,
            "running_now": self._running,
            "requests": {"total": sum(self._by_status.values()), "by_status": dict(self._by_status)},
            "tokens": {"prompt": self._tokens["prompt"], "completion": self._tokens["completion"]},
            "cache": dict(self._by_cache_result),
            "seconds": {name: recent.summary() for name, recent in self._recent.items()},
            "process": {"cpu_s": round(time.process_time(), 3), "memory_mb": _memory_mb()},
        }

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"engineroom_{name}", description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"engineroom_{name}", description, labels, buckets=buckets, registry=self._registry)


class StreamTimer:
    """Times one stream, in a few microseconds a piece.

    Args:
        started: when its request arrived, by `time.perf_counter`.
    """

    __slots__ = ("_first_token", "_inter_token", "_previous", "_recent_first", "_recent_inter", "_started")

    def __init__(
        self,
        started: float,
        first_token: Histogram,
        inter_token: Histogram,
        recent_first: RecentSamples,
        recent_inter: RecentSamples,
    ) -> None:
        self._started = started
        self._first_token = first_token
        self._inter_token = inter_token
        self._recent_first = recent_first
        self._recent_inter = recent_inter
        self._previous: float | None = None

    def add(self, body: bytes) -> None:
        """Note a piece of the body, of whole events."""
        events = body.count(b"\ndata: {") + body.startswith(b"data: {")
        if not events:
            return
        now = time.perf_counter()
        if self._previous is None:
            self._first_token.observe(now - self._started)
            self._recent_first.add(now - self._started, now)
        else:
            gap = (now - self._previous) / events
            self._inter_token.observe(gap)
            self._recent_inter.add(gap, now)
        self._previous = now


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
