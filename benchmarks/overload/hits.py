"""What an answer out of the cache takes, beside one that the echo engine gives."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import uvloop
from processes import cpu_seconds

from engineroom_operations.load import HTTPClient

TOKENS = 20
Door = Callable[[Mapping[str, str]], AbstractContextManager[tuple[int, int]]]


def hits(
    door: Door, everything: Mapping[str, str], headers: Mapping[str, str], messages: Sequence[Any], count: int
) -> list[str]:
    """A table of `count` requests each, one after another on one connection."""
    body = {"model": "echo", "messages": messages, "temperature": 0, "ignore_eos": True, "max_tokens": TOKENS}
    rows = [
        "### A hit in the cache",
        "",
        f"Equal requests one after another on one connection, answers of {TOKENS} tokens, as a client sees them; "
        "the echo engine takes next to no time for its own.",
        "",
        "| | median ms | P99 ms | µs of CPU in the door |",
        "|---|---|---|---|",
    ]
    kinds: list[tuple[str, Mapping[str, str], bool, bool]] = [
        ("no layers, the engine asked", {"METRICS": "false", "LOG_LEVEL": "WARNING"}, False, False),
        ("no layers, the engine asked, streamed", {"METRICS": "false", "LOG_LEVEL": "WARNING"}, True, False),
        ("only the cache, a hit", {"METRICS": "false", "LOG_LEVEL": "WARNING", "CACHE_TTL": "600"}, False, True),
        ("every layer, a hit", {**everything, "CACHE_TTL": "600"}, False, True),
        ("every layer, a hit, streamed", {**everything, "CACHE_TTL": "600"}, True, True),
    ]
    for what, settings, streamed, hit in kinds:
        with door(settings) as (port, pid):
            seconds, cpu = uvloop.run(_asked(port, pid, {**body, "stream": streamed}, headers, count, hit))
        p99 = sorted(seconds)[round(0.99 * len(seconds)) - 1]
        rows.append(f"| {what} | {1e3 * statistics.median(seconds):.2f} | {1e3 * p99:.2f} | {1e6 * cpu / count:.0f} |")
    return rows


async def _asked(
    port: int, pid: int, body: Mapping[str, Any], headers: Mapping[str, str], count: int, hit: bool
) -> tuple[list[float], float]:
    """Seconds of each request, and CPU seconds of the door; what is to be a hit is checked to be one."""
    client = HTTPClient(f"http://127.0.0.1:{port}/v1", headers)
    text = json.dumps(body).encode()
    seconds: list[float] = []
    before = 0.0
    for number in range(count + 100):
        if number == 100:  # The first warm up.
            seconds = []
            before = cpu_seconds(pid)
        began = time.perf_counter()
        answer = await client.fetch("POST", "/chat/completions", text, 30)
        seconds.append(time.perf_counter() - began)
        status = answer.headers.get("cache-status", "")
        if answer.status != 200 or (number >= 100 and status.startswith("engineroom; hit") != hit):
            raise SystemExit(f"not what was meant: {answer.status} {status} {answer.body[:200]!r}")
    client.close()
    return seconds, cpu_seconds(pid) - before
