"""What each of the door's layers costs by itself: doors side by side that differ in one layer, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from hop import FIELDS
from processes import rss_mb
from proxies import EVERY_LAYER, LAYERS, WITHOUT_METRICS, MeasuredProxy, door
from rich.console import Console
from rich.progress import Progress

DEFAULT = "defaults"
NO_METRICS = "defaults without metrics"
ALL = "every layer"
STREAMS, TOKENS, RATE = 16, 100, 200
REQUESTS = 6


async def measure(rounds: int, console: Console) -> dict[str, Any]:
    """By door: `token_us` and `request_us`, µs of CPU, a value a round; and `memory_mb` in the end."""
    settings = {DEFAULT: {}, NO_METRICS: WITHOUT_METRICS, **LAYERS, ALL: EVERY_LAYER}
    measured: dict[str, Any] = {name: {"token_us": [], "request_us": []} for name in settings}
    # Deterministic, so that a cache keeps each answer; asked anew each time, so that none comes from there.
    fields = {**FIELDS, "temperature": 0}
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        targets: dict[str, MeasuredProxy] = {}
        task = progress.add_task("layers", total=(rounds + 1) * len(settings))
        for name, more in settings.items():
            targets[name] = stack.enter_context(door(more, {"cache-control": "no-cache"}))
        for number in range(rounds + 1):
            # Forwards and backwards in turn: what drifts within a round does not fall on the same door each time.
            for name in sorted(targets, key=list(targets).index, reverse=bool(number % 2)):
                target = targets[name]
                body = {**fields, "max_tokens": TOKENS, "rate": RATE}
                streamed = (await target.server.round([body] * STREAMS, target.pid)).cpu_seconds
                spent = 0.0
                for _ in range(REQUESTS):
                    spent += (
                        await target.server.round([{**fields, "max_tokens": 1}] * STREAMS, target.pid)
                    ).cpu_seconds
                if number:
                    request = spent / (REQUESTS * STREAMS)
                    token = (streamed / STREAMS - request) / (TOKENS - 1)
                    measured[name]["token_us"].append(1e6 * token)
                    measured[name]["request_us"].append(1e6 * request)
                progress.advance(task)
        for name, target in targets.items():
            assert target.pid is not None
            measured[name]["memory_mb"] = rss_mb(target.pid)
    return measured


def report(measured: Mapping[str, Any]) -> list[str]:
    """A row for each layer: what it adds to the defaults, round by round."""
    base = measured[DEFAULT]
    rows = [
        "### What each layer costs",
        "",
        f"Doors that differ in one layer, {STREAMS} streams of {TOKENS} tokens at {RATE}/s and {STREAMS} requests for "
        "one token at a time, before the raw source. What a layer adds is the median of the differences to the "
        "defaults in the same round, with its standard error. A token's CPU is without its request's.",
        "",
        "| | µs a token | more | µs a request | more |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, values in measured.items():
        cells = []
        for what in ("token_us", "request_us"):
            cells.append(f"{statistics.median(values[what]):.1f}")
            cells.append("" if name == DEFAULT else _difference(values[what], base[what]))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _difference(values: Sequence[float], base: Sequence[float]) -> str:
    differences = [value - other for value, other in zip(values, base, strict=True)]
    # Of a median: 1.25 times that of the mean.
    error = 1.25 * statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0
    return f"{statistics.median(differences):+.1f} ± {error:.1f}"
