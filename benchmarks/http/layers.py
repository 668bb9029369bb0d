"""What each of the door's layers costs by itself: doors side by side that differ in one layer, in turn.

A layer costs less than this machine's figures differ from one round to the next. So there are many short rounds, and
what all are compared with is measured several times in each.
"""

from __future__ import annotations

import random
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
DEFAULT_TURNS = 3
"""How often a round measures the defaults: before the others, among them and behind them."""
RESAMPLES = 2000


async def measure(rounds: int, console: Console) -> dict[str, Any]:
    """By door: `token_us` and `request_us`, µs of CPU, a value a round; and `memory_mb` in the end."""
    settings = {DEFAULT: {}, NO_METRICS: WITHOUT_METRICS, **LAYERS, ALL: EVERY_LAYER}
    measured: dict[str, Any] = {name: {"token_us": [], "request_us": []} for name in settings}
    # Deterministic, so that a cache keeps each answer; asked anew each time, so that none comes from there.
    fields = {**FIELDS, "temperature": 0}
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        targets: dict[str, MeasuredProxy] = {}
        for name, more in settings.items():
            targets[name] = stack.enter_context(door(more, {"cache-control": "no-cache"}))
        turns = _turns([name for name in targets if name != DEFAULT])
        task = progress.add_task("layers", total=(rounds + 1) * len(turns))
        for number in range(rounds + 1):
            seen: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
            # Forwards and backwards in turn: what drifts within a round does not fall on the same door each time.
            for name in turns if number % 2 else reversed(turns):
                seen[name].append(await _prices(targets[name], fields))
                progress.advance(task)
            if number == 0:
                continue
            for name, prices in seen.items():
                measured[name]["token_us"].append(statistics.fmean(token for token, _ in prices))
                measured[name]["request_us"].append(statistics.fmean(request for _, request in prices))
        for name, target in targets.items():
            assert target.pid is not None
            measured[name]["memory_mb"] = rss_mb(target.pid)
    return measured


def _turns(others: Sequence[str]) -> list[str]:
    """The order of a round: the others, with the defaults spread among them."""
    parts = DEFAULT_TURNS - 1
    turns = [DEFAULT]
    for part in range(parts):
        turns += [*others[part * len(others) // parts : (part + 1) * len(others) // parts], DEFAULT]
    return turns


async def _prices(target: MeasuredProxy, fields: Mapping[str, Any]) -> tuple[float, float]:
    """CPU of a token and of a request, in µs."""
    body = {**fields, "max_tokens": TOKENS, "rate": RATE}
    streamed = (await target.server.round([body] * STREAMS, target.pid)).cpu_seconds
    spent = 0.0
    for _ in range(REQUESTS):
        answered = await target.server.round([{**fields, "max_tokens": 1}] * STREAMS, target.pid)
        spent += answered.cpu_seconds
    request = spent / (REQUESTS * STREAMS)
    token = (streamed / STREAMS - request) / (TOKENS - 1)
    return 1e6 * token, 1e6 * request


def report(measured: Mapping[str, Any]) -> list[str]:
    """A row for each layer: what it adds to the defaults, round by round."""
    base = measured[DEFAULT]
    rows = [
        "### What each layer costs",
        "",
        f"Doors that differ in one layer, {STREAMS} streams of {TOKENS} tokens at {RATE}/s and {STREAMS} requests for "
        "one token at a time, before the raw source. What a layer adds is the median of the differences to the "
        "defaults in the same round, with its standard error by bootstrap; the defaults are measured "
        f"{DEFAULT_TURNS} times a round. A token's CPU is without its request's.",
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
    return f"{statistics.median(differences):+.1f} ± {_error_of_median(differences):.1f}"


def _error_of_median(values: Sequence[float]) -> float:
    """Its standard error, by bootstrap: how far the medians of resampled rounds spread."""
    draw = random.Random(0)
    medians = [statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    return statistics.stdev(medians)
