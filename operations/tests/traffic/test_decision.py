"""Pod or serverless: a table of patterns with the answer that each must get, and what must hold for any pattern."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_models import model

from engineroom.hardware import GpuCatalog
from engineroom_operations.fit import Demand, fit_gpus
from engineroom_operations.traffic import (
    ServingOffer,
    TrafficError,
    TrafficPattern,
    TrafficRules,
    assumed_cold_start_seconds,
    break_even,
    decide,
    pod_offer,
    pods_needed,
    serverless_hour,
    serverless_offer,
)
from engineroom_vllm import VLLMEngine

POD = ServingOffer("RTX 4090", usd_per_hour=0.74, request_seconds=4.0, requests_per_second=4.0)
WORKER = replace(POD, usd_per_hour=1.116)
RULES = TrafficRules(cold_start_seconds=60, idle_timeout_seconds=5)
NIGHT = (0.0,) * 12
FEW_WAIT = replace(RULES, max_waiting_share=0.05)
OFFICE = (0.0,) * 9 + (300.0,) * 8 + (0.0,) * 7

TABLE: list[tuple[str, tuple[float, ...], TrafficRules, ServingOffer | None, ServingOffer | None, str]] = [
    ("nothing at all", (0.0,) * 24, RULES, POD, WORKER, "serverless"),
    ("a few a day", (0.0,) * 23 + (5.0,), RULES, POD, WORKER, "serverless"),
    ("one an hour", (1.0,) * 24, RULES, POD, WORKER, "serverless"),
    ("ten an hour", (10.0,) * 24, RULES, POD, WORKER, "serverless"),
    ("two hundred an hour", (200.0,) * 24, RULES, POD, WORKER, "pod"),
    ("a steady thousand an hour", (1000.0,) * 24, RULES, POD, WORKER, "pod"),
    ("ten thousand an hour", (10_000.0,) * 24, RULES, POD, WORKER, "pod"),
    ("office hours only", OFFICE, RULES, POD, WORKER, "serverless"),
    ("half the day busy", NIGHT + (2000.0,) * 12, RULES, POD, WORKER, "serverless"),
    ("nine hours idle", (0.0,) * 9 + (2000.0,) * 15, RULES, POD, WORKER, "serverless"),
    ("six hours idle", (0.0,) * 6 + (2000.0,) * 18, RULES, POD, WORKER, "pod"),
    ("one busy hour that needs four pods", (0.0,) * 23 + (50_000.0,), RULES, POD, WORKER, "serverless"),
    ("a long idle time-out", (20.0,) * 24, replace(RULES, idle_timeout_seconds=600), POD, WORKER, "pod"),
    ("a short one", (20.0,) * 24, RULES, POD, WORKER, "serverless"),
    ("starts of ten minutes", (20.0,) * 24, replace(RULES, cold_start_seconds=600), POD, WORKER, "pod"),
    ("starts of two seconds", (100.0,) * 24, replace(RULES, cold_start_seconds=2), POD, WORKER, "serverless"),
    ("nobody may wait", (10.0,) * 24, FEW_WAIT, POD, WORKER, "pod"),
    ("all may wait", (10.0,) * 24, replace(RULES, max_waiting_share=1.0), POD, WORKER, "serverless"),
    (
        "few wait where much comes",
        NIGHT + (9000.0,) * 12,
        replace(RULES, max_waiting_share=0.05),
        POD,
        WORKER,
        "serverless",
    ),
    ("serverless for less than a pod", (5000.0,) * 24, RULES, POD, replace(WORKER, usd_per_hour=0.5), "serverless"),
    ("no pod", (10_000.0,) * 24, RULES, None, WORKER, "serverless"),
    ("no serverless", (1.0,) * 24, RULES, POD, None, "pod"),
]


@pytest.mark.parametrize(
    ("hours", "rules", "pod", "worker", "mode"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_each_pattern_gets_the_better_way(
    hours: tuple[float, ...], rules: TrafficRules, pod: ServingOffer | None, worker: ServingOffer | None, mode: str
) -> None:
    decision = decide(TrafficPattern(hours), pod, worker, rules)
    assert decision.mode == mode, decision.reason
    assert decision.reason


def test_the_reason_has_both_prices_and_how_many_wait() -> None:
    decision = decide(TrafficPattern((10.0,) * 24), POD, WORKER, RULES)
    assert "a day of serverless costs $4.31, and a pod $17.76" in decision.reason
    assert "98% of the requests wait 60 s for a cold start" in decision.reason


def test_neither_is_an_error() -> None:
    with pytest.raises(TrafficError, match="neither a pod nor a serverless worker"):
        decide(TrafficPattern((1.0,) * 24), None, None, RULES)


def test_the_formulas_are_those_of_a_simulation() -> None:
    """One worker that takes any number of requests, over some weeks of random arrivals."""
    generator = random.Random(1)
    requests = 120.0
    rate = requests / 3600
    kept = WORKER.request_seconds + RULES.idle_timeout_seconds
    arrivals = [0.0]
    for _ in range(200_000):
        arrivals.append(arrivals[-1] + generator.expovariate(rate))
    up_s = 0.0
    starts = 0
    waited = 0
    ready = -1.0
    until = -1.0
    for time in arrivals:
        if time >= until:
            up_s += until - (ready - RULES.cold_start_seconds) if starts else 0.0
            starts += 1
            ready = time + RULES.cold_start_seconds
        waited += time < ready
        until = max(time, ready) + kept
    cost = serverless_hour(requests, WORKER, RULES)
    assert cost.workers == pytest.approx(up_s / arrivals[-1], rel=0.02)
    assert cost.waiting / requests == pytest.approx(waited / len(arrivals), rel=0.02)


rates = st.floats(0, 1e6)


@settings(max_examples=200, deadline=None)
@given(st.lists(rates, min_size=24, max_size=24), st.floats(0, 900), st.floats(1, 3600))
def test_whatever_the_pattern_the_cheaper_is_taken(hours: list[float], start: float, idle: float) -> None:
    pattern = TrafficPattern(tuple(hours))
    decision = decide(pattern, POD, WORKER, TrafficRules(start, idle))
    assert decision.pod_usd_per_day is not None
    assert decision.serverless_usd_per_day is not None
    assert 0 <= decision.waiting_share <= 1
    assert (decision.mode == "serverless") == (decision.serverless_usd_per_day < decision.pod_usd_per_day)
    assert decision.pods * POD.requests_per_second * 3600 >= pattern.busiest_hour * 0.999


@settings(max_examples=100, deadline=None)
@given(st.floats(0.1, 1e5), st.floats(1.0, 10.0))
def test_more_requests_never_cost_less(requests: float, factor: float) -> None:
    less = serverless_hour(requests, WORKER, RULES)
    more = serverless_hour(requests * factor, WORKER, RULES)
    assert more.usd >= less.usd - 1e-9


def test_beyond_the_break_even_a_pod_costs_less_and_before_it_more() -> None:
    requests = break_even(POD, WORKER, RULES)
    assert requests is not None
    assert serverless_hour(requests * 1.02, WORKER, RULES).usd > POD.usd_per_hour
    assert serverless_hour(requests * 0.98, WORKER, RULES).usd < POD.usd_per_hour
    assert break_even(POD, replace(WORKER, usd_per_hour=0.7), RULES) is None


def test_offers_are_the_cheapest_of_the_catalog() -> None:
    gpus = [gpu for gpu in GpuCatalog.load().gpus if gpu.manufacturer == "NVIDIA"]
    profile = VLLMEngine.memory
    assert profile is not None
    large = model("Qwen3-32B-AWQ")
    fits = fit_gpus(large, profile, gpus, Demand(8192))
    rules = TrafficRules(assumed_cold_start_seconds(large))
    assert rules.cold_start_seconds == pytest.approx(30 + 19.3), "half a minute, and a second for each gigabyte"
    modes = []
    for requests in (1.0, 5000.0):
        pattern = TrafficPattern((requests,) * 24)
        pod = pod_offer(large, fits, pattern)
        worker = serverless_offer(large, fits, pattern)
        assert pod
        assert worker
        assert pod.usd_per_hour == min(fit.pod_usd_per_hour for fit in fits if fit.fits and fit.pod_usd_per_hour)
        assert worker.usd_per_hour > pod.usd_per_hour
        assert 0.1 < worker.request_seconds < 60
        modes.append(decide(pattern, pod, worker, rules).mode)
    assert modes == ["serverless", "pod"]
    assert pod_offer(large, [fit for fit in fits if not fit.fits], TrafficPattern((1.0,) * 24)) is None


def test_the_busiest_hour_decides_how_many_pods_there_are() -> None:
    assert pods_needed(TrafficPattern((0.0,) * 24), POD) == 1
    assert pods_needed(TrafficPattern((14_400.0,) * 24), POD) == 1
    assert pods_needed(TrafficPattern((0.0,) * 23 + (14_500.0,)), POD) == 2
