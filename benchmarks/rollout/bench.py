"""`make bench-rollout`: workers are replaced and killed under load, behind Envoy and nginx, as Kubernetes does it.

In front of the same three workers stand both proxies, each with 16 long streams and a stream of short requests. No
client tries anything again. Three parts: 50 workers replaced, with proxies that try nothing again either; the same
without a lame duck, to show what it is for; and workers killed by SIGKILL, with proxies that send elsewhere what a
worker has not begun to answer. Writes benchmarks/rollout/results.md; it ends with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cluster import RolloutCluster, WorkerKill
from fronts import EnvoyFront, NginxFront
from processes import machine
from rich.console import Console
from rollout_clients import SHORT_EVERY_S, SHORT_MS, STREAM_TOKENS, TOKENS_PER_S, RequestOutcome, RolloutClients

HERE = Path(__file__).parent
LAME_DUCK_S = 6
LAG_S = 3.0
STREAMS = 16
START_S = 1


class RolloutPart(NamedTuple):
    """One part of the benchmark.

    lame_duck: LAME_DUCK of every worker. retries: of the proxies.
    rolls, kills: how many workers are replaced, and killed.
    """

    title: str
    lame_duck: int
    retries: bool
    rolls: int = 0
    kills: int = 0


class RolloutFigures(NamedTuple):
    """What came of a part. retried: by proxy."""

    part: RolloutPart
    outcomes: list[RequestOutcome]
    kills: list[WorkerKill]
    retried: dict[str, int]
    problems: list[str]
    overdue: int
    exits: list[int]
    seconds: float

    def failures(self, front: str = "") -> list[RequestOutcome]:
        return [one for one in self.outcomes if one.error and front in ("", one.front)]

    def own(self, outcome: RequestOutcome) -> bool:
        """Whether a killed worker had the request when it was killed."""
        return any(
            kill.address == outcome.worker and outcome.began <= kill.ended and kill.began <= outcome.ended
            for kill in self.kills
        )

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        problems = list(self.problems)
        if self.overdue or any(self.exits):
            problems.append(f"{self.overdue} workers did not end in time; exit codes {Counter(self.exits)}")
        if self.part.lame_duck and not self.part.kills and self.failures():
            problems.append(f"{len(self.failures())} requests failed while workers were replaced")
        strangers = [one for one in self.failures() if self.part.kills and not self.own(one)]
        if strangers:
            problems.append(f"{len(strangers)} requests failed that no killed worker had, as {strangers[0]}")
        silent = [one for one in self.failures() if one.silent]
        if silent and self.part.lame_duck:
            problems.append(f"{len(silent)} answers ended as if they were whole")
        return problems


async def run(part: RolloutPart, console: Console) -> RolloutFigures:
    """One part, with proxies and workers of its own."""
    settings = {"LAME_DUCK": str(part.lame_duck), "ECHO_START_S": str(START_S)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fronts = [EnvoyFront(folder, part.retries), NginxFront(folder, part.retries)]
        cluster = RolloutCluster(settings, fronts, LAG_S, folder)
        began = time.monotonic()
        try:
            await cluster.start()
            clients = [RolloutClients(front.name, front.url, STREAMS) for front in fronts]
            asking = asyncio.gather(*(each.run() for each in clients))
            with console.status(part.title) as status:
                await asyncio.sleep(3)
                for number in range(part.rolls + part.kills):
                    failed = sum(bool(one.error) for each in clients for one in each.outcomes)
                    done = sum(len(each.outcomes) for each in clients)
                    text = f"{part.title}: {number} of {part.rolls + part.kills}; {done} requests, {failed} failed"
                    status.update(text)
                    await (cluster.roll() if number < part.rolls else cluster.kill())
                await cluster.settled()
                for each in clients:
                    each.end()
                await asking
            outcomes = [one for each in clients for one in each.outcomes]
            retried = {front.name: front.retried() for front in fronts}
        finally:
            await cluster.stop()
    seconds = time.monotonic() - began
    return RolloutFigures(
        part, outcomes, cluster.kills, retried, cluster.problems, cluster.overdue, cluster.exits, seconds
    )


def report(several: Sequence[RolloutFigures]) -> str:
    """The results as a page."""
    lines = [
        "# Workers replaced and killed under load",
        "",
        "<!-- Written by benchmarks/rollout/bench.py (`make bench-rollout`). -->",
        "",
        f"{machine()}. Three workers (`ENGINE=echo`, which takes {START_S} s to load) behind Envoy and nginx, each "
        f"with {STREAMS} streams of {STREAM_TOKENS / TOKENS_PER_S:g} s ({STREAM_TOKENS} tokens) at all times and a "
        f"request of {SHORT_MS} ms every {SHORT_EVERY_S * 1000:g} ms. No client tries anything again.",
        "",
        "Kubernetes is acted out: `/startupz`, then `/readyz` every second with two failures, and `/livez`; a new "
        "worker is ready before an old one is told to end; SIGTERM and the removal of its address begin at the same "
        f"moment, and each proxy hears of it up to {LAG_S:g} s later. `LAME_DUCK` is {LAME_DUCK_S} s, for that, where "
        "a pod has 15 by default.",
        "",
        _row(
            "",
            "proxy",
            "workers",
            "requests",
            "of them streams",
            "failed",
            "of those a killed worker's own",
            "ended as if whole",
            "sent again by the proxy",
        ),
        _row(*["---"] * 9),
    ]
    for figures in several:
        part = figures.part
        workers = f"{part.kills} killed" if part.kills else f"{part.rolls} replaced"
        for front, retried in figures.retried.items():
            outcomes = [one for one in figures.outcomes if one.front == front]
            failures = figures.failures(front)
            own = sum(figures.own(one) for one in failures) if part.kills else ""
            streams = sum(one.stream for one in outcomes)
            silent = sum(one.silent for one in failures)
            lines.append(_row(part.title, front, workers, len(outcomes), streams, len(failures), own, silent, retried))
    lines += ["", "What the clients of requests that failed saw:", ""]
    lines += [_row("", "proxy", "request", "times", "what"), _row(*["---"] * 5)]
    for figures in several:
        seen = Counter((one.front, one.stream, one.error) for one in figures.failures())
        for (front, stream, error), times in sorted(seen.items()):
            kind = "stream" if stream else "short"
            lines.append(_row(figures.part.title, front, kind, times, error.replace("|", "/")))
    broken = [problem for figures in several for problem in figures.broken]
    verdict = "**Kept:** no request failed while workers were replaced; of killed workers only their own requests did, "
    verdict += "each with an error or a connection that breaks."
    lines += ["", "**Broken:** " + "; ".join(broken) if broken else verdict, ""]
    return "\n".join(lines)


def _row(*cells: str | int) -> str:
    return f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in cells)} |"


def main() -> int:
    """Run all parts and write the page; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, and nothing is written")
    quick = parser.parse_args().quick
    console = Console(stderr=True)
    parts = [
        RolloutPart("replaced", LAME_DUCK_S, retries=False, rolls=5 if quick else 50),
        RolloutPart("replaced without a lame duck", 0, retries=False, rolls=2 if quick else 10),
        RolloutPart("killed", LAME_DUCK_S, retries=True, kills=3 if quick else 20),
    ]
    several = []
    for part in parts:
        figures = asyncio.run(run(part, console))
        several.append(figures)
        failed = len(figures.failures())
        console.print(f"{part.title}: {len(figures.outcomes)} requests, {failed} failed, {figures.seconds:.0f} s")
    page = report(several)
    if not quick:
        (HERE / "results.md").write_text(page, encoding="utf-8")
    print(page)
    return any(figures.broken for figures in several)


if __name__ == "__main__":
    sys.exit(main())
