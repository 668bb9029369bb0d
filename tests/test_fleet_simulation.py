"""The simulation of a fleet: held against what queueing theory says, and against sums that one can do by hand.

`make bench-scale` holds it against real workers.
"""

from __future__ import annotations

import importlib
import math
import random
import subprocess
import sys
from types import ModuleType

import pytest
from source_tree import ROOT

SCALE = ROOT / "benchmarks" / "scale"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCALE))
    return importlib.import_module("fleet")


def erlang_c(places: int, offered: float) -> float:
    """The chance that a request has to wait (M/M/c), where `offered` is the mean number of busy places of unlimited
    ones. A. K. Erlang, 1917.
    """
    busy = offered**places / math.factorial(places) * places / (places - offered)
    return busy / (sum(offered**n / math.factorial(n) for n in range(places)) + busy)


def test_waits_are_those_of_queueing_theory(fleet: ModuleType) -> None:
    """One worker with eight places, exponential answers, at 80 %: the mean wait is known exactly."""
    places, offered, mean_s = 8, 6.4, 2.0
    tokens = 200.0
    profile = fleet.WorkerProfile(0, 1e-6, ((1, tokens / mean_s), (places, tokens / mean_s)), places, 10**6)
    chance = random.Random(5)
    arrivals, due = [], 0.0
    for _ in range(30_000):
        due += chance.expovariate(offered / mean_s)
        arrivals.append(fleet.DueRequest(due, 1 + round(chance.expovariate(1 / tokens))))
    report = fleet.SimulatedFleet(profile, fleet.ScalingRule(1, 1, 1)).run(arrivals)
    waits = [each.began - each.due for each in report.outcomes]
    expected = erlang_c(places, offered) * mean_s / (places - offered)
    assert sum(waits) / len(waits) == pytest.approx(expected, rel=0.1)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(erlang_c(places, offered), rel=0.1)


def test_streams_that_run_together_share_what_there_is(fleet: ModuleType) -> None:
    """100 tokens/s alone, 50 each for two: a second request that comes halfway slows the first for the rest."""
    profile = fleet.WorkerProfile(0, 0.5, ((1, 100.0), (2, 50.0)), 2, 0)
    alone = fleet.SimulatedFleet(profile, fleet.ScalingRule(1, 1, 1)).run([fleet.DueRequest(0, 101)])
    assert (alone.outcomes[0].first, alone.outcomes[0].ended) == (pytest.approx(0.5), pytest.approx(1.5))
    both = fleet.SimulatedFleet(profile, fleet.ScalingRule(1, 1, 1)).run(
        [fleet.DueRequest(0, 101), fleet.DueRequest(1.0, 101)]
    )
    first, second = both.outcomes
    # Half a second of 100 tokens/s, then 50 tokens at 50: one second.
    assert first.ended == pytest.approx(2.0)
    # From 1.5 s on: 25 tokens beside the first, and 75 alone.
    assert second.ended == pytest.approx(2.75)


def test_what_finds_no_place_is_refused_and_what_finds_no_worker_waits_for_one(fleet: ModuleType) -> None:
    profile = fleet.WorkerProfile(30, 0.5, ((1, 10.0),), 1, 1)
    together = [fleet.DueRequest(1, 11)] * 4
    report = fleet.SimulatedFleet(profile, fleet.ScalingRule(1, 1, 1)).run(together)
    assert [each.refused for each in report.outcomes] == [False, False, True, True]
    assert [each.ttft_s for each in report.outcomes[:2]] == [pytest.approx(0.5), pytest.approx(2.0)]
    two = fleet.SimulatedFleet(profile, fleet.ScalingRule(2, 2, 1)).run(together)
    assert not any(each.refused for each in two.outcomes)
    # At 10 s an autoscaler sees one request and no worker; 30 s later there is one.
    none = fleet.SimulatedFleet(profile, fleet.ScalingRule(0, 1, 1, poll_s=10, down_s=60)).run(
        [fleet.DueRequest(1, 11)]
    )
    assert none.outcomes[0].ttft_s == pytest.approx(39.5)
    assert (none.starts, none.ready) == (1, [pytest.approx(40)])
    # A queue in front holds what would be refused: each waits for the one before it.
    held = fleet.SimulatedFleet(profile, fleet.ScalingRule(1, 1, 1), front=True).run(together)
    assert [each.ttft_s for each in held.outcomes] == [pytest.approx(0.5 + 1.5 * number) for number in range(4)]


def test_workers_are_dismissed_only_after_a_while_of_less_load(fleet: ModuleType) -> None:
    profile = fleet.WorkerProfile(0, 0.1, ((1, 10.0),), 4, 0)
    burst = [fleet.DueRequest(0.5, 30)] * 4
    late = [fleet.DueRequest(100.0, 1), fleet.DueRequest(500.0, 1)]
    report = fleet.SimulatedFleet(profile, fleet.ScalingRule(1, 4, 1, poll_s=1, down_s=60)).run([*burst, *late])
    # One is always there; three more from the first look at the burst until a minute after its end.
    more = report.worker_s - report.outcomes[-1].ended
    assert 3 * 60 < more < 3 * 70


def test_answers_come_for_the_figures_that_are_asked_about() -> None:
    arguments = ["--start", "60", "--first", "0.2", "--rates", "1=40,8=40", "--places", "8", "--queue", "8"]
    arguments += ["--tokens", "4000", "--loads", "0.02,0.2", "--ttft", "0.5"]
    done = subprocess.run(
        [sys.executable, str(SCALE / "plan.py"), *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    # 0.02 requests/s of 100 s each take two places of eight; 0.2 take 20, and three workers have 24.
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith(("| 0.02 |", "| 0.2 |"))]
    assert [row[2] for row in rows] == ["1", "4"]
    assert "### What scaling to zero costs" in done.stdout
    assert "### Which target" in done.stdout


def test_a_prediction_is_compared_with_what_it_was_about(fleet: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "support"))
    monkeypatch.delitem(sys.modules, "plot", raising=False)
    bench = importlib.import_module("bench")
    monkeypatch.setitem(sys.modules, "bench", bench)
    one = bench.Figures(100, 0, 8000, 10.0, [0.2] * 100, [2.0] * 100, 0.0)
    other = bench.Figures(98, 2, 8000, 11.0, [0.25] * 98, [2.0] * 98, 1.0)
    rows = {name: difference for name, _, _, difference in bench.compared(one, other)}
    assert rows["requests refused"] is None
    assert rows["wait in the workers' queues, mean, s"] is None
    assert rows["tokens/s"] == pytest.approx(10)
    assert rows["TTFT, median, s"] == pytest.approx(-20)
    assert "first worker ready after, s" not in rows
