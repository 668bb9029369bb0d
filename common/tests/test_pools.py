"""What a pool reads of an engine: whose word counts, and under which names."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engineroom.pool_gauges import PoolGauges
from engineroom.pool_load import AdapterOccupancy, CacheBlocks, PoolFacts, PoolLoad, Scrape, read_load, together

RUNNING = ("engine:running", "engine:running_before")
USAGE = ("engine:usage",)


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """All samples of a text by their metric's name, as Prometheus' own parser reads them."""
    read: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            read.setdefault(sample.name, []).append((sample.labels, sample.value))
    return read


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("", PoolFacts(), (0, 0, 0.0, False)),
        ("", PoolFacts(5), (5, 0, 0.0, False)),
        ("", PoolFacts(5, places=2), (2, 3, 1.0, False)),
        ("", PoolFacts(1, places=4), (1, 0, 0.25, False)),
        ("engine:running 3\n", PoolFacts(5), (3, 2, 0.0, False)),
        (
            'engine:running{rank="0"} 2.0\nengine:running{rank="1"} 1.0 1700000000000\n',
            PoolFacts(5),
            (3, 2, 0.0, False),
        ),
        ("engine:running 8\n", PoolFacts(2), (2, 0, 0.0, False)),  # Four choices each.
        ("engine:running_before 1\n", PoolFacts(2), (1, 1, 0.0, False)),
        ("engine:running_total 7\n", PoolFacts(2), (2, 0, 0.0, False)),
        ("engine:running NaN\n", PoolFacts(2), (2, 0, 0.0, False)),
        ("engine:running Inf\n", PoolFacts(2), (2, 0, 0.0, False)),
        ("engine:usage 0.5\n", PoolFacts(1, places=1), (1, 0, 0.5, True)),
        ('engine:usage{rank="0"} 0.2\nengine:usage{rank="1"} 0.4\n', PoolFacts(), (0, 0, 0.3, True)),
        ("engine:usage 45\n", PoolFacts(), (0, 0, 0.45, True)),
        ("# engine's own metrics are left out: it is loading\n", PoolFacts(2), (2, 0, 0.0, False)),
    ],
)
def test_an_engine_s_own_figures_count_as_far_as_it_has_them(text: str, facts: PoolFacts, expected: Any) -> None:
    load = read_load(text, RUNNING, USAGE, facts)
    running, waiting, usage, measured = expected
    assert (load.running, load.waiting, load.measured) == (running, waiting, measured)
    assert load.cache_usage == pytest.approx(usage)


@pytest.mark.parametrize(("clients", "expected"), [(0, (0, 0)), (1, (1, 0)), (2, (2, 0)), (9, (2, 7))])
def test_what_waits_before_the_engine_waits(clients: int, expected: tuple[int, int]) -> None:
    load = PoolLoad(running=2, waiting=1).of_clients(clients)
    assert (load.running, load.waiting) == expected


def test_several_engines_are_as_full_as_the_fullest() -> None:
    loads = [
        PoolLoad(2, 1, 0.2, True, AdapterOccupancy(2, ("a",), ("b",))),
        PoolLoad(1, 0, 0.9, True, AdapterOccupancy(1, ("c",))),
        PoolLoad(),
    ]
    load = together(iter(loads), waiting=4)
    assert load == PoolLoad(3, 5, 0.9, True, AdapterOccupancy(3, ("a", "c"), ("b",)))
    assert together([], waiting=0) == PoolLoad()


def test_what_the_engine_has_under_these_names_gives_way() -> None:
    """It counts its own requests only; a pool would read whichever line comes last."""
    own = (
        "# HELP vllm:num_requests_running Its own.\n# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 2.0\n'
        "# HELP vllm:num_requests_waiting Its own.\n# TYPE vllm:num_requests_waiting gauge\n"
        'vllm:num_requests_waiting{engine="0",model_name="m"} 7.0\n'
        "# HELP vllm:num_requests_waiting_by_reason Another.\n# TYPE vllm:num_requests_waiting_by_reason gauge\n"
        'vllm:num_requests_waiting_by_reason{reason="x"} 7.0\n'
        "# HELP vllm:kv_cache_usage_perc Its own.\n# TYPE vllm:kv_cache_usage_perc gauge\n"
        'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
        'vllm:cache_config_info{block_size="16",num_gpu_blocks="900"} 1.0\n'
        'vllm:lora_requests_info{max_lora="1",running_lora_adapters="x",waiting_lora_adapters=""} 1.7e9\n'
    )
    load = PoolLoad(5, 7, 0.25, True)
    read = samples(PoolGauges().text(Scrape(own, load, "vllm", 'a "m"\\'), clients=20))
    label = {"model_name": 'a "m"\\'}
    assert read["vllm:num_requests_running"] == [(label, 5)]
    assert read["vllm:num_requests_waiting"] == [(label, 15)]
    assert read["vllm:kv_cache_usage_perc"] == [(label, 0.25)]
    assert read["vllm:num_requests_waiting_by_reason"] == [({"reason": "x"}, 7)]
    assert read["vllm:cache_config_info"][0][0]["num_gpu_blocks"] == "900"
    assert read["vllm:lora_requests_info"][0][0]["running_lora_adapters"] == "x"


def test_an_engine_that_pools_know_by_its_own_names_has_those_too() -> None:
    own = "# TYPE sglang:num_queue_reqs gauge\nsglang:num_queue_reqs 1\nsglang:num_running_reqs 2\nsglang:other 1\n"
    read = samples(PoolGauges().text(Scrape(own, PoolLoad(2, 6, 0.5, True), "sglang", "m")))
    pairs = {
        "vllm:num_requests_waiting": "sglang:num_queue_reqs",
        "vllm:num_requests_running": "sglang:num_running_reqs",
        "vllm:kv_cache_usage_perc": "sglang:token_usage",
    }
    for other in pairs.values():
        assert len(read[other]) == 1, other
    assert {name: read[name] for name in pairs} == {name: read[other] for name, other in pairs.items()}
    assert read["sglang:num_queue_reqs"][0][1] == 6
    assert read["sglang:other"] == [({}, 1)]


def test_adapters_and_blocks_of_an_engine_that_knows_them() -> None:
    load = PoolLoad(adapters=AdapterOccupancy(4, ("one", "two"), ("three",)), cache_blocks=CacheBlocks(32, 800))
    read = samples(PoolGauges(lambda: 1_700_000_000.25).text(Scrape("", load, "other", "m")))
    labels = {"max_lora": "4", "running_lora_adapters": "one,two", "waiting_lora_adapters": "three"}
    assert read["vllm:lora_requests_info"] == [(labels, 1_700_000_000.25)]
    assert read["vllm:cache_config_info"] == [({"block_size": "32", "num_gpu_blocks": "800"}, 1)]
    assert read["vllm:kv_cache_usage_perc"] == [({"model_name": "m", "measured": "false"}, 0)]
