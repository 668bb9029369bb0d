"""`make bench-scale`: the simulation of fleet.py held against real processes: four echo workers behind a balancer.

One worker is measured (its start, its first token, its tokens a second by streams). From that alone the simulation
predicts what becomes of the very requests that four workers then get, through `ENGINE=upstream`: a load that they carry
easily, one near their limit, one beyond it, and one that meets no worker and an autoscaler that starts them. Writes
results.md, results.json and the plot, and the tables of plan.py. --quick takes a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import plan
import plot
from fleet import DueRequest, FleetReport, ScalingRule, SimulatedFleet, WorkerProfile
from percentiles import percentile
from processes import ENGINEROOM, Others, free_port, machine, running, until
from rich.console import Console

from engineroom_operations.load import Arrivals, Ask, Extent, HTTPClient, LoadLoop, Measurement, OpenAISender, Sender

HERE = Path(__file__).parent
WORKERS = 4
PLACES, QUEUE = 8, 8
START_S = 4.0
WORKER = {
    "ENGINE": "echo",
    "ECHO_START_S": f"{START_S:g}",
    "ECHO_TTFT_MS": "200",
    "ECHO_TOKENS_PER_S": "40",
    "MAX_CONCURRENT_REQUESTS": str(PLACES),
    "MAX_QUEUED_REQUESTS": str(QUEUE),
    "QUEUE_TIMEOUT": "120",
    "LOG_LEVEL": "WARNING",
    "DRAIN_TIMEOUT": "0",
}
CHECK_S = 0.25
"""Seconds between two looks of the balancer at its workers."""
BALANCER = {"ENGINE": "upstream", "UPSTREAM_CHECK": f"{CHECK_S:g}", "LOG_LEVEL": "WARNING", "DRAIN_TIMEOUT": "0"}
TOKENS = 80
"""Of an answer, on average."""
MESSAGES = [{"role": "user", "content": "How many workers does it take?"}]
RULE = ScalingRule(0, WORKERS, target=6, poll_s=1, down_s=600)
"""The autoscaler of the last scenario; it only adds workers there."""
WITHIN = 10
"""Per cent that a prediction may be away from what is measured."""
console = Console()


@dataclass(frozen=True)
class FleetScenario:
    """load: requests a second, as a share of what the workers can do. scaled: whether the workers come as the rule
    wants them, and a queue in front holds requests until one has a free place.
    """

    name: str
    load: float
    scaled: bool = False


SCENARIOS = (
    FleetScenario("60 % of what four workers can do", 0.6),
    FleetScenario("95 %", 0.95),
    FleetScenario("130 %", 1.3),
    FleetScenario("60 %, from no worker at all", 0.6, scaled=True),
)


@dataclass
class Figures:
    """What a scenario came to, measured or predicted.

    ttft_s, latency_s: of each request that was answered. waits_s: in workers' queues, of all requests together.
    ready_s: when each worker was ready, from the first request on.
    """

    answered: int
    refused: int
    tokens: int
    seconds: float
    ttft_s: list[float]
    latency_s: list[float]
    waits_s: float
    ready_s: list[float] = field(default_factory=list)


class FrontQueue(Sender):
    """Holds requests until a worker has a free place, as a queue in front of a cluster does; first come, first served.

    Args:
        places: of the workers that are ready; what makes one ready releases its places.
    """

    def __init__(self, sender: Sender, places: asyncio.Semaphore) -> None:
        self._sender = sender
        self._places = places

    async def send(self, ask: Ask, measurement: Measurement) -> None:
        async with self._places:
            await self._sender.send(ask, measurement)

    async def prepare(self, streams: int) -> None:
        await self._sender.prepare(streams)

    async def close(self) -> None:
        await self._sender.close()


class Cluster:
    """Four places for workers, and a balancer in front that knows them all."""

    def __init__(self) -> None:
        self.ports = [free_port() for _ in range(WORKERS)]
        self._port = free_port()
        self._stack = ExitStack()
        self.started = 0

    def __enter__(self) -> Cluster:
        urls = ",".join(f"http://127.0.0.1:{port}/v1" for port in self.ports)
        self._stack.enter_context(
            running([ENGINEROOM, "serve"], {**BALANCER, "UPSTREAM_URLS": urls, "PORT": str(self._port)})
        )
        until(f"http://127.0.0.1:{self._port}/livez")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start_worker(self) -> int:
        """Start the next one; its port."""
        port = self.ports[self.started]
        self.started += 1
        self._stack.enter_context(running([ENGINEROOM, "serve"], {**WORKER, "PORT": str(port)}))
        return port

    def until_served(self, port: int) -> float:
        """Wait until a worker is ready and the balancer has looked at it since; the moment of that."""
        until(f"http://127.0.0.1:{port}/readyz")
        time.sleep(CHECK_S)
        return until(f"{self.url}/readyz")

    def sender(self) -> OpenAISender:
        return OpenAISender(HTTPClient(f"{self.url}/v1"), timeout_s=300)

    def waits_s(self) -> float:
        """Seconds that requests have waited in the workers' queues, all together."""
        texts = [self._metrics(port) for port in self.ports[: self.started]]
        sums = [re.search(r"^engineroom_queue_seconds_sum (\S+)", text, re.MULTILINE) for text in texts]
        return sum(float(each[1]) for each in sums if each)

    @staticmethod
    def _metrics(port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return str(response.read().decode())


def ask(tokens: int) -> Ask:
    return Ask("chat", {"model": "echo", "messages": MESSAGES, "max_tokens": tokens, "ignore_eos": True})


def measure_start(times: int) -> list[float]:
    """Seconds from a worker's start until the balancer gives it requests."""
    seconds = []
    for _ in range(times):
        with Cluster() as cluster:
            began = time.perf_counter()
            seconds.append(cluster.until_served(cluster.start_worker()) - began)
    return seconds


async def measure_worker(seconds: float) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Of one worker behind the balancer: seconds to the first token, and tokens a second of each stream."""
    rates = []
    first: list[float] = []
    with Cluster() as cluster:
        cluster.start_worker()
        until(f"{cluster.url}/readyz")
        for streams in (1, PLACES // 2, PLACES):
            sender = cluster.sender()
            await sender.prepare(streams)
            ended: list[Measurement] = []
            loop = LoadLoop(sender, _endless(), Measurement, ended.append)
            await loop.closed(streams, Extent(seconds=seconds), ramp_s=1)
            await sender.close()
            first += [each.ttft_s for each in ended]
            rates.append((streams, 1 / statistics.median(each.token_s or 0 for each in ended)))
    return statistics.median(first), tuple(rates)


def _endless() -> Iterator[Ask]:
    while True:
        yield ask(TOKENS)


def requests(rate: float, seconds: float) -> list[DueRequest]:
    return list(plan.arrivals(rate, seconds, TOKENS, seed=7))


def predict(profile: WorkerProfile, scenario: FleetScenario, arrivals: Sequence[DueRequest]) -> Figures:
    """What the simulation says of these requests."""
    rule = RULE if scenario.scaled else ScalingRule(WORKERS, WORKERS, 1)
    report: FleetReport = SimulatedFleet(profile, rule, front=scenario.scaled).run(arrivals)
    answered = [each for each in report.outcomes if not each.refused]
    return Figures(
        len(answered),
        len(report.outcomes) - len(answered),
        sum(each.tokens for each in answered),
        max(each.ended for each in answered) - arrivals[0].due,
        [each.ttft_s for each in answered],
        [each.latency_s for each in answered],
        # In front of a cluster requests wait for a worker, and not in its queue.
        0.0 if scenario.scaled else sum(each.began - each.due for each in answered),
        report.ready,
    )


async def measure(scenario: FleetScenario, rate: float, arrivals: Sequence[DueRequest]) -> Figures:
    """What four real workers make of these requests."""
    with Cluster() as cluster:
        if not scenario.scaled:
            for _ in range(WORKERS):
                cluster.start_worker()
            # The balancer is ready with the first; it has to know all of them.
            for port in cluster.ports:
                until(f"http://127.0.0.1:{port}/readyz")
            await asyncio.sleep(1)
        sender = cluster.sender()
        await sender.prepare(WORKERS * (PLACES + QUEUE))
        ended: list[Measurement] = []
        asks = (ask(each.tokens) for each in arrivals)
        places = asyncio.Semaphore(0)
        through = FrontQueue(sender, places) if scenario.scaled else sender
        loop = LoadLoop(through, asks, Measurement, ended.append)
        before = cluster.waits_s()
        began = time.perf_counter()
        ready_s: list[float] = []
        scaling = asyncio.ensure_future(_scale(cluster, loop, places, began, ready_s)) if scenario.scaled else None
        await loop.open(Arrivals(rate), Extent(requests=len(arrivals)), seed=7)
        if scaling is not None:
            scaling.cancel()
            await asyncio.gather(scaling, return_exceptions=True)
        waits_s = cluster.waits_s() - before
        await sender.close()
    answered = [each for each in ended if each.failure is None]
    for each in ended:
        if each.failure is not None and each.failure.status != 503:
            raise each.failure
    return Figures(
        len(answered),
        len(ended) - len(answered),
        sum(each.tokens for each in answered),
        max(each.ended for each in answered) - min(each.due for each in ended),
        [each.ttft_s for each in answered],
        [each.end_to_end_s for each in answered],
        waits_s,
        ready_s,
    )


async def _scale(
    cluster: Cluster, loop: LoadLoop, places: asyncio.Semaphore, began: float, ready_s: list[float]
) -> None:
    """Start workers as the rule wants them; give out the places of each when it is ready."""
    starting: list[asyncio.Task[None]] = []

    async def follow(port: int) -> None:
        ready_s.append(await asyncio.to_thread(cluster.until_served, port) - began)
        for _ in range(PLACES):
            places.release()

    number = 0
    while True:
        for _ in range(RULE.wanted(loop.in_flight) - cluster.started):
            starting.append(asyncio.ensure_future(follow(cluster.start_worker())))
        number += 1
        await asyncio.sleep(max(0.0, began + number * RULE.poll_s - time.perf_counter()))


ROWS: Mapping[str, Any] = {
    "requests answered": lambda figures: float(figures.answered),
    "requests refused": lambda figures: float(figures.refused),
    "tokens/s": lambda figures: figures.tokens / figures.seconds,
    "TTFT, median, s": lambda figures: percentile(figures.ttft_s, 0.5),
    "TTFT, 95 %, s": lambda figures: percentile(figures.ttft_s, 0.95),
    "latency, median, s": lambda figures: percentile(figures.latency_s, 0.5),
    "latency, 95 %, s": lambda figures: percentile(figures.latency_s, 0.95),
    "wait in the workers' queues, mean, s": lambda figures: figures.waits_s / max(1, figures.answered),
    "first worker ready after, s": lambda figures: min(figures.ready_s, default=0.0),
    "last worker ready after, s": lambda figures: max(figures.ready_s, default=0.0),
}
_SMALL = {"requests refused": 5.0, "wait in the workers' queues, mean, s": 0.02}
"""Differences that are too small to be one in per cent: five requests, or 20 ms."""


def compared(predicted: Figures, measured: Figures) -> list[tuple[str, float, float, float | None]]:
    """Each figure with its prediction, what was measured, and the difference in per cent; None where both are small."""
    rows = []
    for name, figure in ROWS.items():
        one, other = figure(predicted), figure(measured)
        if one == other == 0:
            continue
        small = name in _SMALL and abs(one - other) <= _SMALL[name]
        rows.append((name, one, other, None if small else 100 * (one - other) / other if other else float("inf")))
    return rows


def report(profile: WorkerProfile, results: Sequence[Mapping[str, Any]], others: float, command: str) -> list[str]:
    """The page. others: the share of the machine that other programs used."""
    rates = ", ".join(f"{rate:.1f} at {streams}" for streams, rate in profile.rates)
    away = [row for result in results for row in result["rows"] if row[3] is not None and abs(row[3]) > WITHIN]
    total = sum(len(result["rows"]) for result in results)
    lines = [
        "# A simulated fleet, held against a real one",
        "",
        f"Written by `{command}` on {machine()}. Other programs used {100 * others:.0f} % of the machine.",
        "",
        f"One echo worker behind the balancer was ready {profile.start_s:.2f} s after its start, had the first token "
        f"after {profile.first_s:.3f} s, and gave each stream {rates} tokens/s. Nothing else is known to the "
        f"simulation but the workers' limits ({PLACES} run, {QUEUE} wait) and the requests: Poisson arrivals, answers "
        f"of {TOKENS} tokens on average. The same requests then went to {WORKERS} workers, as processes, over sockets.",
        "",
        f"**{total - len(away)} of {total} predictions are within {WITHIN} %.**",
    ]
    if away:
        lines += ["", "Not so: " + "; ".join(f"{row[0]} ({row[3]:+.0f} %)" for row in away) + "."]
    for result in results:
        lines += ["", f"## {result['name']}: {result['rate']:.1f} requests/s for {result['seconds']:g} s", ""]
        lines += ["| | predicted | measured | |", "|---|---|---|---|"]
        for name, one, other, difference in result["rows"]:
            lines.append(f"| {name} | {_short(one)} | {_short(other)} | {_per_cent(difference)} |")
    lines += ["", "![Times to first token, predicted and measured](scale.svg)", ""]
    lines += ["## Plans", "", "By the same simulation, with figures of vLLM's from `make bench-engines`: a small model "
              "on this machine's cores. `make scale` makes these tables of yours.", ""]  # fmt: skip
    question = plan.CapacityQuestion(plan.measured_profile(), 200, (0.1, 0.3, 1, 3, 10), 2)
    return [*lines, *plan.pages(question)]


def _per_cent(difference: float | None) -> str:
    return "small" if difference is None else f"{difference:+.1f} %"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


async def run(seconds: float, starts: int, command: str) -> None:
    with Others() as others:
        console.print("one worker: its start, its first token, its tokens a second")
        start_s = statistics.median(measure_start(starts))
        first_s, rates = await measure_worker(min(10, seconds / 2))
        profile = WorkerProfile(start_s, first_s, rates, PLACES, QUEUE)
        capacity = WORKERS * PLACES / (first_s + (TOKENS - 1) / profile.rate(PLACES))
        results = []
        for scenario in SCENARIOS:
            rate = scenario.load * capacity
            arrivals = requests(rate, seconds)
            console.print(f"{scenario.name}: {len(arrivals)} requests")
            predicted = predict(profile, scenario, arrivals)
            measured = await measure(scenario, rate, arrivals)
            rows = compared(predicted, measured)
            for name, one, other, difference in rows:
                console.print(f"  {name:38} {_short(one):>8} {_short(other):>8} {_per_cent(difference):>9}")
            results.append(
                {
                    "name": scenario.name,
                    "rate": rate,
                    "seconds": seconds,
                    "rows": rows,
                    "predicted_ttft_s": sorted(predicted.ttft_s),
                    "measured_ttft_s": sorted(measured.ttft_s),
                }
            )
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "results.md").write_text("\n".join(report(profile, results, others.share, command)) + "\n")
    plot.draw(results)
    console.print(f"wrote {HERE.relative_to(Path.cwd()) if HERE.is_relative_to(Path.cwd()) else HERE}/results.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten seconds a scenario, which says less")
    given = parser.parse_args()
    if given.quick:
        asyncio.run(run(10, 1, "make bench-scale ARGS=--quick"))
    else:
        asyncio.run(run(45, 3, "make bench-scale"))


if __name__ == "__main__":
    main()
