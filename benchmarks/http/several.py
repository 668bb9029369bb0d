"""What several door processes spare the one that every request passes: doors with one, two and four, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import psutil
from hop import FIELDS, figure
from processes import cpu_seconds
from proxies import MeasuredProxy, door
from rich.console import Console
from rich.progress import Progress
from source import RATE

COUNTS = (1, 2, 4)
STREAMS = {16: 100, 200: 50}
"""Streams at once, and the tokens of each."""
REQUESTS = 10


async def measure(rounds: int, console: Console) -> dict[str, Any]:
    """By number of door processes: `main_us` and `doors_us` (µs of CPU a token), `busiest_us` (of the process that has
    most to do) and `ttft_ms`, each by the number of streams with a value a round; `request_us`, of all processes, a
    value a round."""
    measured: dict[str, Any] = {}
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        targets: dict[int, MeasuredProxy] = {}
        task = progress.add_task("door processes", total=(rounds + 1) * len(COUNTS) * len(STREAMS))
        for count in COUNTS:
            targets[count] = stack.enter_context(door({"DOOR_PROCESSES": str(count)}))
            values = {name: {n: [] for n in STREAMS} for name in ("main_us", "doors_us", "busiest_us", "ttft_ms")}
            measured[str(count)] = {**values, "request_us": []}
        for number in range(rounds + 1):
            for n, tokens in STREAMS.items():
                for count, target in targets.items():
                    values = await _round(target, n, tokens)
                    if number:
                        for name, value in values.items():
                            measured[str(count)][name][n].append(value)
                    progress.advance(task)
            if number:
                for count, target in targets.items():
                    measured[str(count)]["request_us"].append(await _request_us(target))
    return measured


async def _round(target: MeasuredProxy, n: int, tokens: int) -> dict[str, float]:
    before = _spent(target)
    streamed = await target.server.round([{**FIELDS, "max_tokens": tokens, "rate": RATE}] * n)
    spent = [1e6 * (after - earlier) / streamed.tokens for after, earlier in zip(_spent(target), before, strict=True)]
    return {
        "main_us": spent[0],
        "doors_us": sum(spent[1:]),
        "busiest_us": max(spent),
        "ttft_ms": streamed.ttft_ms,
    }


async def _request_us(target: MeasuredProxy) -> float:
    """CPU of a request for one token in µs, of all processes, 16 at a time."""
    before = sum(_spent(target))
    for _ in range(REQUESTS):
        await target.server.round([{**FIELDS, "max_tokens": 1, "rate": RATE}] * 16)
    return 1e6 * (sum(_spent(target)) - before) / (16 * REQUESTS)


def _spent(target: MeasuredProxy) -> list[float]:
    """CPU seconds of the main process, then of each door process."""
    assert target.pid is not None
    children = psutil.Process(target.pid).children()
    doors = [child.pid for child in children if "engineroom_workers.http.processes" in child.cmdline()]
    return [cpu_seconds(pid) for pid in (target.pid, *sorted(doors))]


def report(measured: Mapping[str, Any]) -> list[str]:
    """A row for each number of processes and of streams."""
    rows = [
        "### Several door processes",
        "",
        f"`DOOR_PROCESSES`, each door before a raw source at {RATE} tokens/s a stream. µs of CPU a token of the main "
        "process, which has what there is once, of all door processes together, and of the process that has most to "
        "do: what one core has to give.",
        "",
        "| door processes | streams | main | door processes | the busiest | TTFT, ms | µs a request, all |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for count, values in measured.items():
        for position, n in enumerate(values["main_us"]):
            cells = [figure(statistics.median(values[name][n])) for name in ("main_us", "doors_us", "busiest_us")]
            ttft = f"{statistics.median(values['ttft_ms'][n]):.1f}"
            request = _request_cell(values["request_us"]) if position == 0 else ""
            rows.append(f"| {count} | {n} | {' | '.join(cells)} | {ttft} | {request} |")
    return rows


def _request_cell(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f}"
