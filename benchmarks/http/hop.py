"""The hop before a raw source: CPU a token and a request, and first tokens of many that arrive at once."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from processes import rss_mb
from proxies import MeasuredProxy, contenders
from rich.console import Console
from rich.progress import Progress
from source import RATE

MESSAGES = [{"role": "user", "content": "Write a long story about a lighthouse keeper and the sea."}]
FIELDS: Mapping[str, Any] = {"model": "source", "messages": MESSAGES}
STREAMS = (1, 16, 200)
TOKENS: Mapping[int, int] = {1: 100, 16: 200, 200: 200}
ARRIVALS = 4
"""How often a round has N requests arrive at once, beside the N that stream on."""
ARRIVING_TOKENS = 10
REQUESTS = 10
"""How often a round has 16 requests for one token, which say what a request costs."""
SLOW = "LiteLLM"
SLOW_TOKENS: Mapping[int, int] = {1: 50, 16: 50, 200: 20}
"""LiteLLM's proxy takes so long for a token that its streams are shorter, and its rounds fewer."""


async def measure(rounds: int, names: Sequence[str], streams: Sequence[int], console: Console) -> dict[str, Any]:
    """Rounds of each contender in turn, after a short one to warm up.

    Args:
        names: the contenders; all where there is none.
        streams: numbers of streams at once.

    Returns:
        By contender: `cpu_us` (a token) and `ttft_ms` (of the median of N that arrive at once), each by N with a value
        a round; `request_us`, a value a round; and `memory_mb` in the end.
    """
    measured: dict[str, Any] = {}
    with contenders(*names) as targets, Progress(console=console, transient=True) as progress:
        task = progress.add_task("the hop", total=(rounds + 1) * len(targets) * len(streams))
        for name in targets:
            by_streams: dict[str, Any] = {"cpu_us": {}, "ttft_ms": {}, "request_us": []}
            measured[name] = by_streams | {"cpu_us": {n: [] for n in streams}, "ttft_ms": {n: [] for n in streams}}
        for number in range(rounds + 1):
            for n in streams:
                for name, target in targets.items():
                    if number == 0:
                        await stream(target, n, 10)
                        await stream(target, n, 10)
                    elif name != SLOW or number <= max(1, rounds // 2):
                        await _round(measured[name], target, n, (SLOW_TOKENS if name == SLOW else TOKENS)[n], name)
                    progress.advance(task)
            if number:
                for name, target in targets.items():
                    repeats = 1 if name == SLOW else REQUESTS
                    measured[name]["request_us"].append(await request_us(target, repeats))
        for name, target in targets.items():
            if target.pid is not None:
                measured[name]["memory_mb"] = rss_mb(target.pid)
    return measured


async def stream(target: MeasuredProxy, n: int, tokens: int, rate: float = RATE) -> Any:
    """One round of n streams that arrive at once."""
    # The source's own rate is not asked for: a field that no other server has would be looked at by itself.
    body = {**FIELDS, "max_tokens": tokens, **({} if rate == RATE else {"rate": rate})}
    return await target.server.round([body] * n, target.pid)


async def request_us(target: MeasuredProxy, repeats: int) -> float:
    """CPU of a request for one token in µs, 16 at a time."""
    spent = 0.0
    for _ in range(repeats):
        spent += (await stream(target, 16, 1)).cpu_seconds
    return 1e6 * spent / (16 * repeats)


async def _round(values: dict[str, Any], target: MeasuredProxy, n: int, tokens: int, name: str) -> None:
    streamed = await stream(target, n, tokens)
    values["cpu_us"][n].append(streamed.cpu_us)
    arrivals = [streamed.ttft_ms]
    for _ in range(0 if name == SLOW else ARRIVALS):
        arrivals.append((await stream(target, n, ARRIVING_TOKENS)).ttft_ms)
    values["ttft_ms"][n].append(statistics.median(arrivals))


def report(measured: Mapping[str, Any]) -> list[str]:
    """The table, with the middle of the rounds and how far they spread."""
    proxies = [name for name in measured if name != "direct"]
    streams = [str(n) for n in next(iter(measured.values()))["cpu_us"]]
    columns = [f"CPU µs a token, {_streams(n)}" for n in streams]
    columns += ["CPU µs a request", *(f"TTFT ms, {n} at once" for n in streams), "MB"]
    rows = [
        "### The hop before a raw source, 50 tokens/s a stream",
        "",
        "CPU is that of the proxy's process alone. `bytes alone` is the floor of Python on uvloop: it passes bytes on "
        "and looks at none, so that what stands beyond it is what a proxy does. `bare` is the least that a proxy in "
        "Python can be that speaks HTTP: a bare ASGI app over aiohttp on the same server. `router` is vLLM's, in Rust, "
        "on all cores, and with one thread, as the doors, nginx and `bare` have; the source and the client share the "
        "cores. Our door has its defaults; `every layer` is keys, CORS, careful headers, turns, limits by the minute "
        "(in memory), cache, breaker, restarts, metrics and a log line a request. The door speaks to the source over a "
        "Unix socket, as it does to engines that have one; the others over loopback TCP. TTFT is that of the median of "
        "N requests that arrive at once. In brackets: lowest and highest of the rounds, then the ratio to the router, "
        "round by round.",
        "",
        f"| | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    base = measured.get("router")
    for name in measured:
        cells = []
        for n in streams:
            cells.append(_cell(measured[name]["cpu_us"][n], base and base["cpu_us"][n]) if name in proxies else "")
        cells.append(_cell(measured[name]["request_us"], None) if name in proxies else "")
        for n in streams:
            cells.append(_cell(measured[name]["ttft_ms"][n], base and base["ttft_ms"][n] if name in proxies else None))
        memory = measured[name].get("memory_mb")
        rows.append(f"| {name} | {' | '.join(cells)} | {'' if memory is None else f'{memory:.0f}'} |")
    return rows


def _streams(n: str) -> str:
    return "1 stream" if n == "1" else f"{n} streams"


def _cell(values: Sequence[float], base: Sequence[float] | None) -> str:
    """The median, lowest and highest, and the median ratio to the router's in the same round."""
    if not values:
        return ""
    text = f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})"
    if base and values is not base:
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=False))
        text += f"; {ratio:.2f}x"
    return text


def figure(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
