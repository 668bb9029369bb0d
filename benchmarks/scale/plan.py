"""`make scale`: how many workers a load needs, what scaling to zero costs at the first token, and which target keeps up
with a load that grows. By default for vLLM as `make bench-engines` measured it; the options take your own figures,
which `engineroom bench` measures.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from fleet import DueRequest, FleetReport, ScalingRule, SimulatedFleet, WorkerProfile
from percentiles import percentile

from engineroom_operations.load import Arrivals

MEASURED = Path(__file__).resolve().parents[1] / "engines" / "results.json"
ENGINE = "vLLM"
_DAY_S = 86_400.0
_HOUR_S = 3600.0
_MOST_WORKERS = 1000
_MOST_REQUESTS = 15_000
"""Of one worker in the last table; fifteen such fleets are simulated."""


class CapacityQuestion(NamedTuple):
    """What is asked.

    tokens: of an answer, on average; answers are spread as waiting times are (exponentially).
    loads: requests a second, each a row of the first table.
    ttft_s: what the time to first token of 95 % may be.
    """

    profile: WorkerProfile
    tokens: float
    loads: Sequence[float]
    ttft_s: float


def arrivals(rate: float, seconds: float, tokens: float, seed: int = 1) -> Iterator[DueRequest]:
    """Requests of many users: a Poisson process, and answers of exponential lengths."""
    lengths = random.Random(seed + 1)
    for due in Arrivals(rate).due(seed):
        if due >= seconds:
            return
        yield DueRequest(due, max(1, round(lengths.expovariate(1 / tokens))))


def growing(rate: Callable[[float], float], highest: float, seconds: float, tokens: float) -> Iterator[DueRequest]:
    """Requests whose rate changes: of those at the highest rate each stays with a chance, as it should be then."""
    chance = random.Random(3)
    for arrival in arrivals(highest, seconds, tokens, seed=2):
        if chance.random() < rate(arrival.due) / highest:
            yield arrival


def ttft(report: FleetReport, share: float) -> float:
    """Of the requests that were not refused; infinite where all were."""
    values = [each.ttft_s for each in report.outcomes if not each.refused]
    return percentile(values, share) if values else float("inf")


def refused(report: FleetReport) -> float:
    """Share of all requests."""
    return sum(each.refused for each in report.outcomes) / max(1, len(report.outcomes))


def busy_s(question: CapacityQuestion) -> float:
    """For how long a request has a place, on average, while all places are taken."""
    profile = question.profile
    return profile.first_s + question.tokens / profile.rate(profile.places)


def fixed(profile: WorkerProfile, workers: int, requests: Sequence[DueRequest]) -> FleetReport:
    return SimulatedFleet(profile, ScalingRule(workers, workers, 1)).run(requests)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def workers_table(question: CapacityQuestion) -> list[str]:
    """The fewest workers for each load, and how it would be with one fewer."""
    limit = f"{question.ttft_s:g} s"
    titles = ("requests/s", "tokens/s", f"workers for a TTFT of {limit} (95 %)", "TTFT, median / 95 %",
              "with one fewer: TTFT 95 %, refused")  # fmt: skip
    rows = [_row(titles), "|---|---|---|---|---|"]
    profile = question.profile
    for load in question.loads:
        print(f"{load:g} requests/s", file=sys.stderr)
        # Long enough for a thousand requests, and for ten of the longest.
        requests = list(arrivals(load, max(1000 / load, 300), question.tokens))
        # Fewer cannot carry it in any case.
        workers = max(1, int(load * busy_s(question) / profile.places))
        fewer = fixed(profile, workers - 1, requests) if workers > 1 else None
        while True:
            report = fixed(profile, workers, requests)
            if (ttft(report, 0.95) <= question.ttft_s and refused(report) == 0) or workers == _MOST_WORKERS:
                break
            fewer = report
            workers += 1
        before = "-" if fewer is None else f"{ttft(fewer, 0.95):.1f} s, {100 * refused(fewer):.0f} %"
        rows.append(
            f"| {load:g} | {load * question.tokens:,.0f} | {workers} "
            f"| {ttft(report, 0.5):.2f} s / {ttft(report, 0.95):.2f} s | {before} |"
        )
    return rows


def zero_table(question: CapacityQuestion) -> list[str]:
    """A day of few requests: who waits for a start, and for how long a worker is there."""
    rows = [
        "| requests/h | wait for a start | TTFT, median / 95 % | worker-hours a day | with one always there |",
        "|---|---|---|---|---|",
    ]
    rule = ScalingRule(0, 4, target=question.profile.places, poll_s=15, down_s=300)
    for hourly in (1, 4, 12, 30, 60):
        requests = list(arrivals(hourly / _HOUR_S, _DAY_S, question.tokens))
        report = SimulatedFleet(question.profile, rule, front=True).run(requests)
        usual = question.profile.first_s * 2
        waited = sum(each.ttft_s > usual for each in report.outcomes) / len(report.outcomes)
        rows.append(
            f"| {hourly} | {100 * waited:.0f} % | {ttft(report, 0.5):.2f} s / {ttft(report, 0.95):.1f} s "
            f"| {report.worker_s / _HOUR_S:.1f} | 24.0 |"
        )
    return rows


def target_table(question: CapacityQuestion) -> list[str]:
    """A load that trebles within five minutes, by the autoscaler's target and the time of a start."""
    profile = question.profile
    one = profile.places / busy_s(question)
    starts = (30.0, 120.0, 300.0)
    titles = [f"start of {start:g} s: TTFT 95 %, refused, workers on average" for start in starts]
    rows = [_row(["target", *titles]), "|---|" + "---|" * len(starts)]

    def rate(moment: float) -> float:
        grown = min(1.0, max(0.0, (moment - 300) / 300))
        return one * (1 + 2 * grown) * 0.9

    seconds = 1500.0
    if seconds * one > _MOST_REQUESTS:
        return [f"Left out: a worker that answers {one:.0f} requests a second would take minutes to simulate here."]
    requests = list(growing(rate, 3 * one * 0.9, seconds, question.tokens))
    for share in (0.4, 0.6, 0.8, 1.0, 1.5):
        print(f"a target of {100 * share:.0f} % of the places", file=sys.stderr)
        target = max(1, round(share * profile.places))
        cells = []
        for start in starts:
            slow = WorkerProfile(start, profile.first_s, profile.rates, profile.places, profile.queue)
            report = SimulatedFleet(slow, ScalingRule(1, 12, target), warm=-(-profile.places // target)).run(requests)
            cells.append(f"{ttft(report, 0.95):.1f} s, {100 * refused(report):.1f} %, {report.worker_s / seconds:.1f}")
        rows.append(f"| {target} ({100 * share:.0f} % of {profile.places}) | " + " | ".join(cells) + " |")
    return rows


def pages(question: CapacityQuestion) -> list[str]:
    """All three tables, in Markdown."""
    profile = question.profile
    rates = ", ".join(f"{rate:.1f} at {streams}" for streams, rate in profile.rates)
    return [
        f"A worker is ready {profile.start_s:.1f} s after its order, has the first token after {profile.first_s:.2f} s "
        f"and gives each stream {rates} tokens/s. It runs {profile.places} requests and lets {profile.queue} wait. An "
        f"answer has {question.tokens:g} tokens on average.",
        "",
        "### How many workers for which load",
        "",
        *workers_table(question),
        "",
        "### What scaling to zero costs",
        "",
        "The last worker goes after five minutes without work; KEDA looks every 15 s; a queue in front holds requests.",
        "",
        *zero_table(question),
        "",
        "### Which target",
        "",
        "Twenty-five minutes: a load of 90 % of one worker's, which trebles from the fifth to the tenth; at most 12 "
        "workers. A target is the running and waiting requests for each.",
        "",
        *target_table(question),
    ]


def measured_profile(queue: int | None = None) -> WorkerProfile:
    """vLLM with a small model on this machine's cores, as benchmarks/engines/results.json has it."""
    row = next(row for row in json.loads(MEASURED.read_text())["rows"] if row["name"] == ENGINE)
    rates = tuple((int(n), _middle(values) / int(n)) for n, values in row["rates"].items())
    places = max(streams for streams, _ in rates)
    first = _middle(row["ttft_ms"][str(places)]) / 1000
    return WorkerProfile(_middle(row["start_s"]), first, rates, places, places // 8 if queue is None else queue)


def _middle(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def _rates(text: str) -> tuple[tuple[int, float], ...]:
    """`1=60,16=35`: tokens a second of each stream by the number of streams."""
    pairs = [part.split("=") for part in text.split(",")]
    return tuple(sorted((int(streams), float(rate)) for streams, rate in pairs))


def main() -> None:
    usual = measured_profile()
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--start", type=float, default=usual.start_s, help="seconds from a worker's order until it is ready")
    add("--first", type=float, default=usual.first_s, help="seconds to the first token")
    add("--rates", type=_rates, default=usual.rates, metavar="1=60,16=35", help="tokens/s of each stream, by streams")
    add("--places", type=int, default=usual.places, help="MAX_CONCURRENT_REQUESTS of a worker")
    add("--queue", type=int, help="MAX_QUEUED_REQUESTS; an eighth of the places by default")
    add("--tokens", type=float, default=200, help="of an answer, on average")
    add("--loads", default="0.1,0.3,1,3", help="requests a second, for the first table")
    add("--ttft", type=float, default=2, help="what the time to first token of 95 %% may be, in seconds")
    given = parser.parse_args()
    queue = max(1, given.places // 8) if given.queue is None else given.queue
    profile = WorkerProfile(given.start, given.first, given.rates, given.places, queue)
    loads = [float(load) for load in given.loads.split(",")]
    print("\n".join(pages(CapacityQuestion(profile, given.tokens, loads, given.ttft))))


if __name__ == "__main__":
    main()
