"""Whether a stream costs the same beside many others as alone: CPU while 1 to 1,000 streams run."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hop import FIELDS, figure
from processes import cpu_seconds
from proxies import MeasuredProxy, contenders
from rich.console import Console
from rich.progress import Progress

NAMES = ("nginx", "router", "door")
STREAMS = (1, 4, 16, 64, 200, 500, 1000)
RATE = 10
SETTLING_S = 1.2
WINDOW_S = 1.2


async def measure(rounds: int, console: Console) -> dict[str, Any]:
    """By contender and number of streams: CPU in µs a token while all stream, requests' own left out; a value a round.

    Each stream has 10 tokens a second, so that a thousand are what one core can do.
    """
    measured: dict[str, Any] = {}
    with contenders(*NAMES) as targets, Progress(console=console, transient=True) as progress:
        task = progress.add_task("1 to 1,000 streams", total=rounds * len(targets) * len(STREAMS))
        for name in targets:
            measured[name] = {n: [] for n in STREAMS}
        for _ in range(rounds):
            for n in STREAMS:
                for name, target in targets.items():
                    measured[name][n].append(await _window(target, n))
                    progress.advance(task)
    return measured


async def _window(target: MeasuredProxy, n: int) -> float:
    """µs of CPU a token amid the streams: neither arrivals nor ends are in it."""
    assert target.pid is not None
    tokens = int(RATE * (SETTLING_S + WINDOW_S + 0.5))
    body = {**FIELDS, "max_tokens": tokens, "rate": RATE}
    streaming = asyncio.ensure_future(target.server.round([body] * n))
    await asyncio.sleep(SETTLING_S)
    before = cpu_seconds(target.pid)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(WINDOW_S)
    spent = cpu_seconds(target.pid) - before
    seconds = asyncio.get_running_loop().time() - began
    await streaming
    return 1e6 * spent / (n * RATE * seconds)


def report(measured: Mapping[str, Any]) -> list[str]:
    """A row for each number of streams."""
    names = list(measured)
    rows = [
        "### 1 to 1,000 streams",
        "",
        f"µs of CPU a token while all stream, {RATE} tokens/s a stream; arrivals and ends are left out. One stream "
        "wakes a process for each of its tokens; many share a wake-up. In brackets: lowest and highest of the rounds.",
        "",
        f"| streams | {' | '.join(names)} |",
        f"|---:|{'---:|' * len(names)}",
    ]
    for n in next(iter(measured.values())):
        cells = [_cell(measured[name][n]) for name in names]
        rows.append(f"| {n} | {' | '.join(cells)} |")
    return rows


def _cell(values: Sequence[float]) -> str:
    return f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})"
