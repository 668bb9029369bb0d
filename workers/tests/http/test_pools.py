"""What a pool's gateway reads of a worker while clients wait, and how it asks whether the worker is well."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from http_door import Door, ask, serving
from prometheus_client.parser import text_string_to_metric_families
from server_process import until

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
USAGE = "vllm:kv_cache_usage_perc"
QUICK = {"STREAM_HEARTBEAT": "0.2"}
"""So that a client that waits is told something now and then, and leaves."""
LONG = {"max_tokens": 5000, "ignore_eos": True, "echo_tokens_per_s": 20}


def gauges(door: Door) -> dict[str, float]:
    """The three that a pool needs, as Prometheus' own parser reads them. Each is there once."""
    read: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(door.metrics()):
        if family.name in (RUNNING, WAITING, USAGE):
            assert family.type == "gauge"
            read.setdefault(family.name, []).extend(sample.value for sample in family.samples)
    assert {name: len(values) for name, values in read.items()} == {RUNNING: 1, WAITING: 1, USAGE: 1}
    return {name: values[0] for name, values in read.items()}


def load(door: Door) -> tuple[float, float]:
    """Requests that run and that wait."""
    read = gauges(door)
    return read[RUNNING], read[WAITING]


@contextmanager
def clients(door: Door, number: int, **fields: Any) -> Iterator[None]:
    """So many that stream at the same time."""
    leaving = threading.Event()

    def stream() -> None:
        body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, **LONG, **fields}
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body, timeout=60) as answer:
            for _ in answer.iter_lines():
                if leaving.is_set():
                    return

    with ThreadPoolExecutor(number) as pool:
        for _ in range(number):
            pool.submit(stream)
        try:
            yield
        finally:
            leaving.set()


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    settings = {"MAX_CONCURRENT_REQUESTS": "2", "MAX_QUEUED_REQUESTS": "10", **QUICK}
    with serving(settings) as door:
        yield door


def test_requests_in_the_door_s_own_queue_wait(door: Door) -> None:
    assert load(door) == (0, 0)
    with clients(door, 5):
        until(lambda: load(door) == (2, 3))
        for _ in range(5):
            assert sum(load(door)) == 5
            httpx.get(f"{door.url}/v1/models")
            httpx.get(f"{door.url}/health")
    until(lambda: load(door) == (0, 0))


def test_a_request_for_several_choices_is_one(door: Door) -> None:
    with clients(door, 1, n=3):
        until(lambda: load(door) == (1, 0))
    until(lambda: load(door) == (0, 0))


def test_without_a_queue_all_run() -> None:
    with serving() as door, clients(door, 3):
        until(lambda: load(door) == (3, 0))


def test_requests_that_wait_for_a_new_engine_wait() -> None:
    with serving({"ENGINE_RESTARTS": "1", "ECHO_START_S": "2"}) as door, ThreadPoolExecutor(1) as pool:
        caught = pool.submit(ask, door, echo_ttft_ms=1500)
        until(lambda: load(door) == (1, 0))
        ask(door, echo_fault="die", stream=True, echo_fault_after=1)
        assert door.ping() == 204
        assert load(door) == (0, 1)
        assert caught.result().status_code == 200
        assert load(door) == (0, 0)


def test_several_models_are_one_worker_to_a_pool() -> None:
    models = [{"name": name, "engine": "echo", "memory": "1 GB"} for name in ("a", "b", "c")]
    settings = {"ENGINE": "", "MODELS": json.dumps(models), "MODELS_MEMORY_GB": "2", "PAGE": "false", **QUICK}
    with serving(settings) as door, clients(door, 2, model="a"), clients(door, 1, model="b"):
        until(lambda: load(door) == (3, 0))
        with clients(door, 1, model="c"):
            until(lambda: load(door) == (3, 1))


def test_a_gateway_reads_them_without_a_key_where_that_is_allowed() -> None:
    with serving({"API_KEYS": "alice:sk-1", "METRICS_OPEN": "true"}) as door:
        assert load(door) == (0, 0)
        assert httpx.get(f"{door.url}/health").status_code == 200


def test_a_reading_takes_no_time_from_an_engine_that_does_not_answer(door: Door) -> None:
    with clients(door, 4, echo_ttft_ms=600_000):
        until(lambda: sum(load(door)) == 4)
        time.sleep(0.5)
        assert load(door) == (2, 2)
