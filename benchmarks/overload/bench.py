"""`make bench-overload`: the HTTP door at 1x, 2x and 10x of what its engine can do, and what its layers cost.

Overload: requests arrive at random (Poisson) whether or not others are answered, at a door that lets 32 at a time to
the echo engine, whose answers take about half a second each. They differ in length, as answers do: equal ones march
in step, all turns end at once, and whoever waits then waits for a whole round. Cost: CPU of the door's process with
every layer on and with none, interleaved, medians. Cache: what a hit takes. Writes benchmarks/overload/results.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import uvloop
from hits import hits
from percentiles import percentile
from processes import ENGINEROOM, free_port, machine, rss_mb, running, until
from rounds import MEANING, ChatServer

from engineroom_operations.load import Arrivals, Ask, Extent, HTTPClient, LoadLoop, Measurement, OpenAISender

HERE = Path(__file__).parent

AT_ONCE, QUEUE = 32, 4
TOKENS, TTFT_MS, RATE = (10, 30), 50, 50
SERVICE_S = TTFT_MS / 1000 + sum(TOKENS) / 2 / RATE
MESSAGES = [{"role": "user", "content": "Write a long story about a lighthouse keeper and the sea."}]
EVERYTHING = {
    "API_KEYS": "bench:sk-bench",
    "METRICS_OPEN": "true",
    "CORS_ORIGINS": "*",
    "SECURITY_HEADERS": "true",
    "MAX_CONCURRENT_REQUESTS": "1000",
    "MAX_CONCURRENT_REQUESTS_PER_KEY": "1000",
    "REQUESTS_PER_MINUTE": "100000000",
    "TOKENS_PER_MINUTE": "10000000000",
    "BREAKER_FAILURES": "5",
    "ENGINE_RESTARTS": "3",
    "CACHE_TTL": "60",
    "ACCESS_LOG": "true",
}
# Deterministic, so that each answer is kept; asked anew each time, so that none comes from there.
HEADERS = {"authorization": "Bearer sk-bench", "cache-control": "no-cache", "origin": "https://app.example"}


@contextmanager
def door(settings: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """A door with the echo engine: its port and its process."""
    port = free_port()
    with running([ENGINEROOM, "serve"], {"ENGINE": "echo", "PORT": str(port), **settings}) as child:
        until(f"http://127.0.0.1:{port}/ping", seconds=60)
        yield port, child.pid


async def arrivals(port: int, a_second: float, seconds: float) -> tuple[list[float], Counter[str]]:
    """Latencies in seconds of whole answers, from when each was due, and how often there was which outcome: `200`, the
    status of a refusal, or how else it failed."""
    latencies: list[float] = []
    outcomes: Counter[str] = Counter()
    rng = random.Random(7)
    fields = {"messages": MESSAGES, "ignore_eos": True}
    asks = (Ask("chat", {**fields, "max_tokens": rng.randint(*TOKENS)}) for _ in itertools.count())
    sender = OpenAISender(HTTPClient(f"http://127.0.0.1:{port}/v1"), "echo", timeout_s=60)

    def count(measurement: Measurement) -> None:
        failure = measurement.failure
        if failure is None:
            outcomes["200"] += 1
            latencies.append(measurement.end_to_end_s)
        else:
            outcomes[str(failure.status) if failure.status >= 400 else failure.kind] += 1

    await LoadLoop(sender, asks, Measurement, count).open(Arrivals(a_second), Extent(seconds=seconds), seed=7)
    await sender.close()
    return latencies, outcomes


def overload(seconds: float) -> list[str]:
    capacity = AT_ONCE / SERVICE_S
    rows = [
        "### Overload",
        "",
        f"{AT_ONCE} requests at a time and {QUEUE} waiting; answers of {TOKENS[0]} to {TOKENS[1]} tokens, "
        f"{SERVICE_S * 1000:.0f} ms in the mean, "
        f"so that the capacity is {capacity:.0f} a second. "
        f"{seconds:g} s of arrivals at each load, latencies of whole answers, from when each request was due.",
        "",
        "| load | goodput, a second | P50 / P95 / P99 of admitted, ms | shed | other errors | memory of the door, MB |",
        "|---|---|---|---|---|---|",
    ]
    settings = {
        "MAX_CONCURRENT_REQUESTS": str(AT_ONCE),
        "MAX_QUEUED_REQUESTS": str(QUEUE),
        "ECHO_TTFT_MS": str(TTFT_MS),
        "ECHO_TOKENS_PER_S": str(RATE),
        "LOG_LEVEL": "WARNING",
    }
    good: dict[float, tuple[float, float]] = {}
    with door(settings) as (port, pid):
        uvloop.run(arrivals(port, capacity / 2, 2))
        for load in (1, 2, 10):
            latencies, outcomes = uvloop.run(arrivals(port, capacity * load, seconds))
            total = sum(outcomes.values())
            shed = outcomes["429"] + outcomes["503"]
            p50, p95, p99 = (1000 * percentile(latencies, share) for share in (0.5, 0.95, 0.99))
            good[load] = (len(latencies) / seconds, p99)
            rows.append(
                f"| {load}x | {len(latencies) / seconds:.1f} | {p50:.0f} / {p95:.0f} / {p99:.0f} "
                f"| {100 * shed / total:.1f} % | {total - shed - outcomes['200']} | {rss_mb(pid):.0f} |"
            )
    return [
        *rows,
        "",
        f"At 10x: goodput {100 * good[10][0] / good[1][0]:.0f} % of that at 1x, "
        f"P99 {good[10][1] / good[1][1]:.2f} times.",
    ]


async def cost(rounds: int) -> list[str]:
    with (
        door({"METRICS": "false", "LOG_LEVEL": "WARNING"}) as (bare_port, bare_pid),
        door(EVERYTHING) as (full_port, full_pid),
    ):
        targets = {
            "none": (ChatServer(bare_port, HEADERS), bare_pid),
            "all": (ChatServer(full_port, HEADERS), full_pid),
        }
        fields = {"model": "echo", "messages": MESSAGES, "ignore_eos": True, "temperature": 0}
        token_us: dict[str, list[float]] = {name: [] for name in targets}
        request_us: dict[str, list[float]] = {name: [] for name in targets}
        for number in range(rounds + 1):
            for name, (server, pid) in targets.items():
                body = {**fields, "max_tokens": 500, "echo_tokens_per_s": 200}
                long = await server.round([body] * 16, pid)
                spent = 0.0
                for _ in range(25):
                    spent += (await server.round([{**fields, "max_tokens": 1}] * 16, pid)).cpu_seconds
                if number:  # The first round warms up.
                    token_us[name].append(long.cpu_us)
                    request_us[name].append(1e6 * spent / 400)
    rows = [
        "### What the layers cost",
        "",
        "CPU of the door's process, the echo engine in it included. All: keys, CORS, careful headers, limits by the "
        f"minute (in memory), cache, turns, breaker, restarts, metrics and a log line a request. {MEANING}",
        "",
        "| | none | all | more |",
        "|---|---|---|---|",
    ]
    for what, figures in (
        ("µs a streamed token (16 streams of 500)", token_us),
        ("µs a request (of 1 token)", request_us),
    ):
        none, every = statistics.median(figures["none"]), statistics.median(figures["all"])
        rows.append(f"| {what} | {none:.1f} | {every:.1f} | {every - none:.1f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="of arrivals at each load (15)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of the cost (5)")
    parser.add_argument("--hits", type=int, default=2000, help="requests that the cache answers, of each kind (2000)")
    parser.add_argument("--only", choices=["overload", "cost", "hits"], help="one part; the others stay as they were")
    options = parser.parse_args()
    bearer = {"authorization": HEADERS["authorization"]}
    parts = {
        "overload": lambda: overload(options.seconds),
        "cost": lambda: uvloop.run(cost(options.rounds)),
        "hits": lambda: hits(door, EVERYTHING, bearer, MESSAGES, options.hits),
    }
    sections = {}
    for name in [options.only] if options.only else list(parts):
        busy = os.getloadavg()[0]
        rows = [*parts[name](), "", f"Load average of the machine before: {busy:.1f}."]
        print("\n".join(["", *rows]), flush=True)
        sections[rows[0]] = "\n".join(rows)
    head = f"# The HTTP door under overload, measured\n\n`make bench-overload`; client and door share {machine()}."
    results = HERE / "results.md"
    if options.only:
        head, *before = results.read_text(encoding="utf-8").strip().split("\n\n### ")
        sections = {f"### {part}".partition("\n")[0]: f"### {part}" for part in before} | sections
    results.write_text("\n\n".join([head, *sections.values()]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
