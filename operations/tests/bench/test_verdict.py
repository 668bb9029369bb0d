"""Each rule of the verdict over figures that call for it, and over figures that do not; and the search for a rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engineroom.settings import Environment
from engineroom_operations.bench.figures import Distribution, Failures, ServerFigures, Stage
from engineroom_operations.bench.search import RateSearch
from engineroom_operations.bench.server_watch import ServerRecorder
from engineroom_operations.bench.verdict import RULES, verdict
from engineroom_operations.scraping.vocabulary import MetricVocabulary


def times(median: float, **others: float) -> Distribution:
    figures = {"count": 1000, "min": median, "mean": median, "p90": median, "p95": median, "p99": median, "max": median}
    return Distribution(**{"median": median, **figures, **others})


def stage(streams: int, **changes: Any) -> Stage:
    """A stage of a server that does not mind its load: a thousand requests without a fault."""
    whole = Stage(
        label=f"{streams} streams",
        streams=streams,
        rate=0,
        arrivals="closed",
        seconds=20,
        requests=1000,
        succeeded=1000,
        failed=0,
        given_up=0,
        failures={},
        requests_per_s=50,
        goodput_per_s=50,
        tokens_in=100_000,
        tokens_out=100_000,
        tokens_cached=0,
        tokens_by_usage=1000,
        tokens_by_events=0,
        tokens_in_per_s=100.0 * streams,
        tokens_out_per_s=100.0 * streams,
        ttft=times(50),
        inter_token=times(10),
        token=times(10),
        end_to_end=times(1000),
        send_lag=times(0.1),
        extra={},
        slices=[],
        ttft_bars=[],
        own_cpu_share=0.1,
        own_cpu_us_a_token=10,
        own_memory_mb=60,
        met=None,
        server=ServerFigures(running=float(streams), waiting=0, cache_used_peak=0.3, queue_ms=0, ttft_ms=45),
    )
    return msgspec.structs.replace(whole, **changes)


CALLS: dict[str, tuple[list[Stage], str, str]] = {
    "failures": (
        [stage(4), stage(64, failed=9, succeeded=991, failures={"rate limited (429)": Failures(9, "slow", "wait")})],
        "9 of 1000 requests failed at 64 streams, 9 of them: rate limited (429)",
        "Wait",
    ),
    "generator": ([stage(4), stage(64, own_cpu_share=0.97)], "97 % of a core at 64 streams", "free core"),
    "queue": (
        [stage(4), stage(64, server=ServerFigures(running=16, waiting=48, queue_ms=900), ttft=times(1000))],
        "48 requests waited while 16 ran",
        "MAX_NUM_SEQS",
    ),
    "cache": (
        [stage(4), stage(64, server=ServerFigures(cache_used_peak=0.99))],
        "99 % of it",
        "GPU_MEMORY_UTILIZATION",
    ),
    "prefill": (
        [stage(4), stage(64, server=ServerFigures(prefill_ms=800, decode_ms=900))],
        "800 ms of a request's 1700 ms",
        "MAX_NUM_BATCHED_TOKENS",
    ),
    "prefixes": (
        [
            stage(
                64,
                tokens_in=3_000_000,
                server=ServerFigures(prefill_ms=800, decode_ms=900, prefix_hit_share=0.02),
            )
        ],
        "only 2 % of the prompts' tokens",
        "what differs at the end",
    ),
    "decode": (
        [stage(4), stage(64, token=times(35), tokens_out_per_s=1500.0)],
        "35.0 ms, 3.5 times as long as at 4 streams, for 3.8 times the tokens",
        "QUANTIZATION",
    ),
    "network": ([stage(1, ttft=times(300))], "255 ms of the 300 ms", "region"),
    "uneven": (
        [stage(4, inter_token=times(0.1, p99=80), token=times(10, mean=20))],
        "clumps at 4 streams",
        "proxy_buffering",
    ),
    "knee": (
        [stage(16), stage(64, tokens_out_per_s=1650.0, end_to_end=times(3900))],
        "The knee is at 16 streams: 64 streams gave 1.03 times its tokens a second and took 3.9 times as long",
        "MAX_CONCURRENT_REQUESTS",
    ),
    "headroom": ([stage(4), stage(8)], "from 4 streams to 8 streams the tokens a second grew 2.0 times", "--search"),
}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_a_rule_speaks_where_it_should_and_names_a_remedy(rule: str) -> None:
    stages, limit, remedy = CALLS[rule]
    advice = {one.rule: one for one in verdict(stages)}
    assert rule in advice, advice
    assert limit in advice[rule].limit
    assert remedy in advice[rule].remedy


@pytest.mark.parametrize("rule", [rule.name for rule in RULES if rule.name != "headroom"])
def test_a_rule_is_silent_over_a_server_that_carries_its_load(rule: str) -> None:
    assert rule not in {one.rule for one in verdict([stage(1), stage(4), stage(16)])}


def test_a_server_without_metrics_is_judged_by_what_the_client_saw() -> None:
    bare = [stage(count, server=ServerFigures()) for count in (1, 4)]
    assert [one.rule for one in verdict(bare)] == ["headroom"]
    assert verdict([]) == []


def test_a_slow_sender_of_an_open_loop_is_the_generator() -> None:
    late = stage(0, rate=10, label="10/s", send_lag=times(1, p99=80))
    assert "sent 1 of 100 requests 80 ms late" in verdict([late])[0].limit


def test_without_first_tokens_nothing_is_said_of_their_share() -> None:
    whole = stage(64, ttft=Distribution(), server=ServerFigures(running=16, waiting=48, queue_ms=900))
    (queue,) = [one for one in verdict([whole]) if one.rule == "queue"]
    assert queue.limit == "The queue limits at 64 streams: 48 requests waited while 16 ran."
    assert not verdict([stage(64, ttft=Distribution(), server=ServerFigures(queue_ms=900))])


METRICS = """# HELP vllm:num_requests_running Now.
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0"} %(cache)s
vllm:request_queue_time_seconds_bucket{le="0.3"} 1
vllm:request_queue_time_seconds_bucket{le="+Inf"} %(requests)s
vllm:request_queue_time_seconds_sum %(queued)s
vllm:request_queue_time_seconds_count %(requests)s
vllm:prefix_cache_queries_total %(queries)s
vllm:prefix_cache_hits_total %(hits)s
vllm:num_preemptions_total %(preemptions)s
"""
BEFORE = {"cache": 0.1, "requests": 100, "queued": 10, "queries": 1000, "hits": 100, "preemptions": 5}
DURING = {"cache": 0.9, "requests": 105, "queued": 11, "queries": 1500, "hits": 200, "preemptions": 6}
AFTER = {"cache": 0.2, "requests": 110, "queued": 12, "queries": 2000, "hits": 350, "preemptions": 8}
RESTARTED = {"cache": 0.3, "requests": 2, "queued": 4, "queries": 10, "hits": 5, "preemptions": 0}


def recorded(*scrapes: str) -> ServerFigures:
    """The figures of scrapes, of which the first and the last stand at a stage's ends."""
    vocabulary = MetricVocabulary.installed(Environment.of({}))
    recorder = ServerRecorder()
    for second, text in enumerate(scrapes):
        recorder.add(vocabulary.read(text, second), under_load=0 < second < len(scrapes) - 1)
    return recorder.figures()


def test_a_servers_figures_are_of_the_stage_alone() -> None:
    figures = recorded(METRICS % BEFORE, METRICS % DURING, METRICS % AFTER)
    assert (figures.running, figures.running_peak, figures.waiting, figures.cache_used_peak) == (7, 7, 2, 0.9)
    assert (figures.queue_ms, figures.prefix_hit_share, figures.preemptions) == (200, 0.25, 3)
    assert (figures.prefill_ms, figures.ttft_ms) == (None, None)
    assert recorded(METRICS % BEFORE) == ServerFigures()
    assert recorded() == ServerFigures()


def test_of_a_server_that_started_anew_only_what_came_after_it_counts() -> None:
    figures = recorded(METRICS % BEFORE, METRICS % RESTARTED, METRICS % DURING)
    assert figures.queue_ms == pytest.approx(1000 * 7 / 103)


def test_behind_our_door_what_waits_in_the_engine_waits_too() -> None:
    """Of 16 streams that the door has let through 12 wait for one of llama.cpp's four slots."""
    text = (
        "engineroom_requests_running 19\nengineroom_requests_waiting 3\n"
        "llamacpp:requests_processing 4\nllamacpp:requests_deferred 12\n"
    )
    figures = recorded(text, text, text)
    assert (figures.running, figures.waiting) == (4, 15)


def tried(capacity: Callable[[float], bool], start: float) -> tuple[RateSearch, list[float]]:
    search = RateSearch(start)
    rates: list[float] = []
    while (rate := search.next_rate()) is not None:
        rates.append(rate)
        search.tried(rate, capacity(rate))
    return search, rates


@pytest.mark.parametrize("capacity", [0.03, 0.9, 1, 3.3, 37, 180])
@pytest.mark.parametrize("start", [1, 4])
def test_the_search_comes_within_a_tenth_of_the_largest_rate(capacity: float, start: float) -> None:
    search, rates = tried(lambda rate: rate <= capacity, start)
    assert capacity / 1.1 <= search.good <= capacity
    assert search.bad > capacity
    assert len(rates) == len(set(rates)) <= 12


@pytest.mark.parametrize("answer", [True, False])
def test_a_search_without_a_limit_ends(answer: bool) -> None:
    search, rates = tried(lambda _: answer, 1)
    assert len(rates) == 12
    assert bool(search.good) == answer
