"""Scrapes of servers as they are, and what comes of the differences between them."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom import plugins
from engineroom.settings import Environment
from engineroom_operations.scraping.exposition import Bucket, Exposition, Histogram, UnreadableMetrics
from engineroom_operations.scraping.snapshot import MetricsSnapshot
from engineroom_operations.scraping.vocabulary import HISTOGRAMS, MEASURES, OUR_DOOR, MetricVocabulary
from engineroom_operations.scraping.window import Window

LIMITS = (0.1, 0.2, 0.5, 1.0, math.inf)


def histogram(samples: list[float]) -> Histogram:
    return Histogram(tuple(Bucket(limit, sum(sample <= limit for sample in samples)) for limit in LIMITS))


def vocabulary() -> MetricVocabulary:
    return MetricVocabulary.installed(Environment.of({}))


@given(st.lists(st.floats(0.001, 0.99), min_size=1, max_size=200), st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_is_in_the_bucket_of_the_sample_that_it_is(samples: list[float], percent: float) -> None:
    value = histogram(samples).percentile(percent)
    exact = sorted(samples)[max(0, math.ceil(len(samples) * percent / 100) - 1)]
    limit = next(limit for limit in LIMITS if exact <= limit)
    lower = max((other for other in LIMITS if other < limit), default=0.0)
    assert value is not None
    assert lower <= value <= limit


def test_percentiles_of_even_samples_are_exact() -> None:
    even = histogram([number / 1000 for number in range(1, 1001)])
    assert even.percentile(50) == pytest.approx(0.5, abs=0.002)
    assert even.percentile(90) == pytest.approx(0.9, abs=0.002)


def test_beyond_the_last_limit_it_is_that_limit() -> None:
    assert histogram([5.0]).percentile(99) == 1.0


def test_without_samples_there_is_no_percentile() -> None:
    assert histogram([]).percentile(99) is None
    assert Histogram(()).percentile(50) is None


def test_a_window_knows_only_what_came_in_it() -> None:
    window = Window(60)
    old = [0.9] * 1000
    window.add(MetricsSnapshot(0, histograms={"inter_token": histogram(old)}, counters={"completion_tokens": 1000}))
    window.add(
        MetricsSnapshot(
            10, histograms={"inter_token": histogram([*old, *[0.15] * 10])}, counters={"completion_tokens": 1500}
        )
    )
    assert window.rate("completion_tokens", 5) == 50
    recent = window.histogram("inter_token")
    assert recent is not None
    assert recent.samples == 10
    assert 0.1 <= (recent.percentile(50) or 0) <= 0.2


def test_the_rate_is_of_the_last_seconds() -> None:
    window = Window(60)
    for second in range(0, 100, 2):
        window.add(MetricsSnapshot(second, counters={"completion_tokens": second * (1 if second < 90 else 2)}))
    assert window.rate("completion_tokens", 5) == 2
    assert (window.rate("completion_tokens", 60) or 0) > 1


def test_a_server_that_starts_anew_begins_anew() -> None:
    window = Window(60)
    window.add(MetricsSnapshot(0, counters={"completion_tokens": 1000}, statuses={"200": 10}))
    assert window.add(MetricsSnapshot(2, counters={"completion_tokens": 5}, statuses={"200": 1}))
    assert window.rate("completion_tokens", 5) is None
    assert not window.add(MetricsSnapshot(4, counters={"completion_tokens": 25}, statuses={"200": 1}))
    assert window.rate("completion_tokens", 5) == 10


def test_what_had_counted_nothing_is_no_restart() -> None:
    window = Window(60)
    window.add(MetricsSnapshot(0))
    assert not window.add(
        MetricsSnapshot(2, counters={"completion_tokens": 20}, histograms={"inter_token": histogram([0.1])})
    )
    assert window.rate("completion_tokens", 5) == 10


@pytest.mark.parametrize(
    ("text", "running", "waiting", "tokens", "p50"),
    [
        (
            'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'
            'vllm:num_requests_running{engine="1",model_name="m"} 2.0\n'
            'vllm:num_requests_waiting{engine="0",model_name="m"} 7.0\n'
            'vllm:generation_tokens_total{engine="0",model_name="m"} 120.0\n'
            'vllm:time_to_first_token_seconds_bucket{le="0.1"} 0.0\n'
            'vllm:time_to_first_token_seconds_bucket{le="0.3"} 10.0\n'
            'vllm:time_to_first_token_seconds_bucket{le="+Inf"} 10.0\n',
            5,
            7,
            120,
            0.2,
        ),
        (
            "llamacpp:requests_processing 4\nllamacpp:requests_deferred 46\nllamacpp:tokens_predicted_total 17029\n",
            4,
            46,
            17029,
            None,
        ),
        (
            "sglang:num_running_reqs 8\nsglang:num_queue_reqs 4\nsglang:generation_tokens_total 9\n"
            'sglang:time_to_first_token_seconds_bucket{le="1"} 8\n'
            'sglang:time_to_first_token_seconds_bucket{le="+Inf"} 8\n',
            8,
            4,
            9,
            0.5,
        ),
        (
            "maxserve_num_requests_running 1\nmaxserve_num_requests_queued 0\nmaxserve_num_output_tokens_total 5\n"
            'maxserve_time_to_first_token_milliseconds_bucket{le="100.0"} 4\n'
            'maxserve_time_to_first_token_milliseconds_bucket{le="+Inf"} 4\n',
            1,
            0,
            5,
            0.05,
        ),
    ],
    ids=["vllm", "llamacpp", "sglang", "max"],
)
def test_servers_by_the_names_that_their_engines_know(
    text: str, running: float, waiting: float, tokens: float, p50: float | None
) -> None:
    snapshot = vocabulary().read(text, 0)
    assert snapshot.gauges["requests_running"] == running
    assert snapshot.gauges["requests_waiting"] == waiting
    assert snapshot.counters["completion_tokens"] == tokens
    first = snapshot.histograms.get("time_to_first_token")
    assert (first.percentile(50) if first else None) == pytest.approx(p50)


def test_our_door_counts_before_its_engine() -> None:
    text = (
        "engineroom_requests_running 5\nengineroom_requests_waiting 3\nvllm:num_requests_running 9\n"
        'engineroom_requests_total{key="",model="m",route="/v1/chat/completions",status="200"} 7\n'
        'engineroom_requests_total{key="",model="",route="/v1/models",status="200"} 100\n'
        'engineroom_gpu_utilisation_ratio{gpu="0"} 0.5\nengineroom_gpu_memory_used_bytes{gpu="0"} 1e9\n'
        "vllm:kv_cache_usage_perc 0.45\nengineroom_engine_ready 0\n"
    )
    snapshot = vocabulary().read(text, 0)
    assert snapshot.gauges["requests_running"] == 2
    assert snapshot.gauges["cache_usage"] == 0.45
    assert snapshot.statuses == {"200": 7}
    assert [(gpu.number, gpu.utilisation, gpu.memory_used) for gpu in snapshot.gpus] == [("0", 0.5, 1e9)]
    assert snapshot.ready is False


def test_what_is_not_known_among_it_changes_nothing() -> None:
    text = (
        "llamacpp:requests_processing 4\nother_metric 5\nbroken{ line\nvllm:num_requests_running_total 9\n"
        'vllm:num_requests_waiting{reason="x y",le="}"} 2.0 1700000000000\nvllm:generation_tokens_total NaN\n'
        'vllm:request_queue_time_seconds_bucket{le="1.0"} 2\nvllm:request_queue_time_seconds_bucket{le="+Inf"} 4\n'
        "vllm:request_queue_time_seconds_sum 10\nvllm:request_queue_time_seconds_count 4\n"
    )
    snapshot = vocabulary().read(text, 0)
    assert snapshot.gauges == {"requests_running": 4, "requests_waiting": 2}
    assert snapshot.counters == {}
    assert snapshot.histograms["queue_time"].mean == 2.5
    assert not snapshot.says_nothing


def test_a_mean_is_of_what_came_between_two_looks() -> None:
    earlier = Histogram((Bucket(1.0, 2), Bucket(math.inf, 4)), 10.0)
    later = Histogram((Bucket(1.0, 3), Bucket(math.inf, 6)), 13.0)
    assert later.since(earlier).mean == 1.5
    assert later.plus(earlier).mean == 2.3
    assert later.scaled(1000).mean == pytest.approx(13 / 6000)
    assert earlier.since(earlier).mean is None
    assert histogram([0.5]).mean is None


@pytest.mark.parametrize("text", ["<html>not found</html>", '{"detail": "no"}', "what {is this"])
def test_what_is_no_exposition_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UnreadableMetrics):
        Exposition(text)


def test_an_exposition_without_samples_says_nothing() -> None:
    assert vocabulary().read("# HELP x y\n", 0).says_nothing
    assert vocabulary().read("", 0).says_nothing


def test_the_door_has_the_names_that_are_read() -> None:
    """The monitor may not import the door, so that its names stand in both."""
    import engineroom_workers

    folder = Path(engineroom_workers.__file__).parent / "http"
    source = "".join(path.read_text() for path in folder.rglob("*.py"))
    for names in OUR_DOOR.values():
        for name in names:
            stem = name.removeprefix("engineroom_").removesuffix("_total")
            assert f'"{stem}"' in source, name


def test_every_engine_names_measures_that_are_shown() -> None:
    for name, engine in plugins.loadable(Environment.of({})).items():
        assert set(engine.metric_names) <= set(MEASURES), name
        for measure, names in engine.metric_names.items():
            assert not isinstance(names, str), (name, measure)
            if measure in HISTOGRAMS and name != "upstream":
                assert all(each.endswith(("_seconds", "_milliseconds")) for each in names), (name, measure)


def test_windows_do_not_grow() -> None:
    window = Window(60)
    generator = random.Random(1)
    for second in range(0, 4000, 2):
        window.add(MetricsSnapshot(second + generator.random(), counters={"completion_tokens": second}))
    assert len(window._snapshots) < 40


def test_samples_of_pages_alone_are_samples() -> None:
    """Any server counts its requests by their handler; that none is of a model makes its metrics none the worse."""
    assert Exposition('http_requests_total{handler="/metrics"} 3\n').total("http_requests_total") is None
