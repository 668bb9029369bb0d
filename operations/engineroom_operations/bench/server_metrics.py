"""What a server's own /metrics tell while it is measured. Its names are known by their ends, whoever's they are."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from ..load.failure import RequestFailure
from ..load.http_client import HTTPClient
from .figures import ServerFigures

INTERVAL_S = 2.0
_TIMEOUT_S = 5.0

RUNNING = ("num_requests_running", "num_running_reqs", "requests_running", "requests_processing")
WAITING = ("num_requests_waiting", "num_queue_reqs", "requests_waiting", "requests_deferred")
CACHE_USED = ("kv_cache_usage_perc", "kv_cache_usage_ratio", "cache_usage_perc", "token_usage")
PREEMPTIONS = ("num_preemptions_total",)
PREFIX_QUERIES = ("prefix_cache_queries_total", "prefix_cache_queries")
PREFIX_HITS = ("prefix_cache_hits_total", "prefix_cache_hits")
QUEUE = ("request_queue_time_seconds", "queue_time_seconds", "queue_seconds")
PREFILL = ("request_prefill_time_seconds", "prefill_seconds")
DECODE = ("request_decode_time_seconds", "decode_seconds")
TTFT = ("time_to_first_token_seconds",)

_SUMS = tuple(f"{name}{end}" for name in (*QUEUE, *PREFILL, *DECODE, *TTFT) for end in ("_sum", "_count"))
_ALL = (*RUNNING, *WAITING, *CACHE_USED, *PREEMPTIONS, *PREFIX_QUERIES, *PREFIX_HITS, *_SUMS)
_NAMES = "|".join(sorted(_ALL, key=len, reverse=True))
_LINE = re.compile(rf"^(\w+[:_])?({_NAMES})(?:\{{[^\n]*\}})? ([^\s]+)".encode(), re.MULTILINE)
_DOOR = b"engineroom_"


def values(text: bytes) -> dict[str, float]:
    """Of each known metric, the sum over its labels, without the prefix of who wrote the server.

    A door counts what its engine counts as well: where both do, the engine's own figure stands.

    Args:
        text: Prometheus' text format.
    """
    sums: defaultdict[tuple[bool, str], float] = defaultdict(float)
    for prefix, name, number in _LINE.findall(text):
        with suppress(ValueError):
            sums[prefix != _DOOR, name.decode()] += float(number)
    return {name: value for (_, name), value in sorted(sums.items())}


class ServerWatch:
    """Looks at a server's metrics every two seconds.

    Args:
        client: of the server's root.
    """

    def __init__(self, client: HTTPClient) -> None:
        self._client = client
        self.available = True

    async def look(self) -> dict[str, float] | None:
        """The metrics as they are; None where the server has none, for good."""
        if not self.available:
            return None
        try:
            response = await self._client.fetch("GET", "/metrics", timeout_s=_TIMEOUT_S)
        except RequestFailure:
            return None
        self.available = response.status == 200
        return values(response.body) if self.available else None

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[list[dict[str, float]]]:
        """The looks taken during the block: one at its beginning, one at its end, and those between."""
        looks: list[dict[str, float]] = []

        async def watch() -> None:
            while self.available:
                look = await self.look()
                if look is not None:
                    looks.append(look)
                await asyncio.sleep(INTERVAL_S)

        first = await self.look()
        if first is not None:
            looks.append(first)
        task = asyncio.ensure_future(watch())
        try:
            yield looks
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            last = await self.look()
            if last is not None:
                looks.append(last)


def summary(looks: Sequence[Mapping[str, float]]) -> ServerFigures:
    """What several looks at a server tell of the time between the first and the last."""
    if len(looks) < 2:
        return ServerFigures()
    during = looks[1:-1] or looks
    running = _series(during, RUNNING)
    waiting = _series(during, WAITING)
    cache = _series(looks, CACHE_USED)
    first = looks[0]
    last = looks[-1]
    queries = _growth(first, last, PREFIX_QUERIES)
    hits = _growth(first, last, PREFIX_HITS)
    return ServerFigures(
        running=_mean(running),
        running_peak=max(running, default=None),
        waiting=_mean(waiting),
        waiting_peak=max(waiting, default=None),
        cache_used_peak=max(cache, default=None),
        preemptions=_growth(first, last, PREEMPTIONS),
        queue_ms=_mean_ms(first, last, QUEUE),
        prefill_ms=_mean_ms(first, last, PREFILL),
        decode_ms=_mean_ms(first, last, DECODE),
        ttft_ms=_mean_ms(first, last, TTFT),
        prefix_hit_share=None if not queries or hits is None else hits / queries,
    )


def _series(looks: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[float]:
    return [value for value in (_value(look, names) for look in looks) if value is not None]


def _value(look: Mapping[str, float], names: Sequence[str]) -> float | None:
    return next((look[name] for name in names if name in look), None)


def _mean(series: Sequence[float]) -> float | None:
    return sum(series) / len(series) if series else None


def _growth(first: Mapping[str, float], last: Mapping[str, float], names: Sequence[str]) -> float | None:
    for name in names:
        if name in last:
            return max(0.0, last[name] - first.get(name, 0.0))
    return None


def _mean_ms(first: Mapping[str, float], last: Mapping[str, float], names: Sequence[str]) -> float | None:
    """The mean of a histogram of seconds over the time between two looks, in milliseconds."""
    for name in names:
        count = _growth(first, last, [f"{name}_count"])
        total = _growth(first, last, [f"{name}_sum"])
        if count and total is not None:
            return 1000 * total / count
    return None
