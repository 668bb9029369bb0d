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

from .percentiles import SECONDS, Recent

if TYPE_CHECKING:
    from ..context import RequestContext

_REQUEST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)


class Meter:
    """The door's measurements.

    Labels are bounded: only served models and routes, and keys by their names, ever become one.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(namespace="engineroom", registry=registry)
        where = ["route", "model"]
        self._requests = Counter(
            "engineroom_requests", "Requests answered.", ["route", "status", "model", "key"], registry=registry
        )
        self._running_now = 0
        self.gauge("requests_running", "Requests being served now.", lambda: self._running_now)
        self.gauge("process_tasks", "Tasks in the door's event loop.", _tasks)
        self._seconds = Histogram(
            "engineroom_request_seconds",
            "Seconds from a request to the end of its answer.",
            where,
            buckets=_REQUEST,
            registry=registry,
        )
        self._first = Histogram(
            "engineroom_time_to_first_token_seconds",
            "Seconds from a request to the first event of its stream (TTFT).",
            where,
            buckets=_REQUEST,
            registry=registry,
        )
        self._between = Histogram(
            "engineroom_inter_token_seconds",
            "Seconds between two pieces of a stream, by the tokens in the later one.",
            where,
            buckets=_TOKEN,
            registry=registry,
        )
        self._queued = Histogram(
            "engineroom_queue_seconds",
            "Seconds a request that had to wait waited for its turn.",
            buckets=_REQUEST,
            registry=registry,
        )
        self._prompt = Counter(
            "engineroom_prompt_tokens", "Tokens of prompts, as answers told them.", ["model", "key"], registry=registry
        )
        self._completion = Counter(
            "engineroom_completion_tokens",
            "Tokens generated: as answers told them, else the events of streams.",
            ["model", "key"],
            registry=registry,
        )
        self._cache = Counter(
            "engineroom_cache_requests", "Requests by what the cache had.", ["result"], registry=registry
        )
        self._statuses: Tally[str] = Tally()
        self._tokens: Tally[str] = Tally()
        self._caches: Tally[str] = Tally()
        self._recent = {name: Recent() for name in ("time_to_first_token", "inter_token", "request", "queue")}

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry).decode()

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """One more gauge, read when somebody looks."""
        Gauge(f"engineroom_{name}", what, registry=self.registry).set_function(value)

    def came(self) -> None:
        """Note that a request has come; `answered` notes its end."""
        self._running_now += 1

    def stream(self, route: str, model: str) -> StreamMeter:
        """What measures one stream's pieces."""
        return StreamMeter(
            self._first.labels(route, model),
            self._between.labels(route, model),
            self._recent["time_to_first_token"],
            self._recent["inter_token"],
        )

    def answered(self, call: RequestContext, route: str, status: int, now: float) -> None:
        """Note the end of a request.

        Args:
            status: 499, nginx's code, for a client that left before it had an answer.
            now: by `time.perf_counter`.
        """
        self._running_now -= 1
        key, seconds = call.key.name, now - call.started
        self._requests.labels(route, str(status), call.model, key).inc()
        self._statuses[str(status)] += 1
        self._seconds.labels(route, call.model).observe(seconds)
        self._recent["request"].add(seconds, now)
        if call.queued:
            self._queued.observe(call.queued)
            self._recent["queue"].add(call.queued, now)
        if call.cache:
            self._cache.labels(call.cache).inc()
            self._caches[call.cache] += 1
        # What came out of the cache was not generated.
        if (call.prompt_tokens or call.completion_tokens) and call.cache not in ("hit", "collapsed"):
            self._prompt.labels(call.model, key).inc(call.prompt_tokens)
            self._completion.labels(call.model, key).inc(call.completion_tokens)
            self._tokens["prompt"] += call.prompt_tokens
            self._tokens["completion"] += call.completion_tokens

    def summary(self) -> dict[str, Any]:
        """Counts since the start, and percentiles in seconds over the last five minutes."""
        return {
            "window_s": SECONDS,
            "running_now": self._running_now,
            "requests": {"total": sum(self._statuses.values()), "by_status": dict(self._statuses)},
            "tokens": {"prompt": self._tokens["prompt"], "completion": self._tokens["completion"]},
            "cache": dict(self._caches),
            "seconds": {name: recent.summary() for name, recent in self._recent.items()},
            "process": {"cpu_s": round(time.process_time(), 3), "memory_mb": _memory_mb()},
        }


class StreamMeter:
    """Measures one stream, a few microseconds a piece.

    events: how many have gone out.
    """

    __slots__ = ("_between", "_first", "_last", "_recent_between", "_recent_first", "events")

    def __init__(self, first: Histogram, between: Histogram, recent_first: Recent, recent_between: Recent) -> None:
        self._first, self._between = first, between
        self._recent_first, self._recent_between = recent_first, recent_between
        self._last = 0.0
        self.events = 0

    def piece(self, body: bytes, started: float) -> None:
        """Note a piece of the body, of whole events."""
        count = body.count(b"\ndata: {") + body.startswith(b"data: {")
        if not count:
            return
        now = time.perf_counter()
        if not self.events:
            self._first.observe(now - started)
            self._recent_first.add(now - started, now)
        else:
            gap = (now - self._last) / count
            self._between.observe(gap)
            self._recent_between.add(gap, now)
        self.events += count
        self._last = now


def _tasks() -> int:
    """How many tasks there are in the loop that asks."""
    return len(asyncio.all_tasks())


def _memory_mb() -> float | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
