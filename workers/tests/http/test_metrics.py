"""Metrics, from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from http_door import Door, serving
from prometheus_client.parser import text_string_to_metric_families
from redis_server import RedisServer
from server_process import until

from engineroom_workers.http.metrics.gpus import GPUs, parse
from engineroom_workers.http.metrics.series import RecentSamples

HELLO = [{"role": "user", "content": "Hello there, secret-prompt"}]


def ask(door: Door, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"messages": HELLO, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def samples(door: Door) -> dict[str, float]:
    """Every sample by its name and labels; the text must be what Prometheus can read."""
    values = {}
    for family in text_string_to_metric_families(httpx.get(f"{door.url}/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}"
            assert key not in values
            values[key] = sample.value
    return values


def test_prometheus_and_json_tell_of_requests_and_tokens() -> None:
    settings = {"API_KEYS": "alice:sk-alice", "METRICS_OPEN": "1", "MAX_CONCURRENT_REQUESTS": "4"}
    with serving({**settings, "BREAKER_FAILURES": "3", "CACHE_TTL": "60", "ECHO_TOKENS_PER_S": "200"}) as door:
        alice = {"authorization": "Bearer sk-alice"}
        whole = ask(door, alice).json()
        streamed = ask(door, alice, stream=True)
        assert "[DONE]" in streamed.text
        ask(door, alice, model="nope")
        cached = [ask(door, alice, temperature=0).headers["cache-status"] for _ in range(2)]
        assert ["hit" in status for status in cached] == [False, True]
        ask(door)
        httpx.post(f"{door.url}/made/up/7", json={}, headers=alice)
        route = "route=/v1/chat/completions"
        whole_ones = f"engineroom_requests_total{{key=alice,model=echo,{route},status=200}}"
        until(lambda: samples(door).get(whole_ones) == 4 and door.metric("engineroom_requests_running") == 0)
        values = samples(door)
        assert values[whole_ones] == 4
        assert values[f"engineroom_requests_total{{key=alice,model=,{route},status=404}}"] == 1
        assert values[f"engineroom_requests_total{{key=anonymous,model=,{route},status=401}}"] == 1
        assert values["engineroom_requests_total{key=alice,model=,route=other,status=404}"] == 1
        assert values[f"engineroom_time_to_first_token_seconds_count{{model=echo,{route}}}"] == 1
        tokens = whole["usage"]["completion_tokens"]
        assert values["engineroom_completion_tokens_total{key=alice,model=echo}"] == 3 * tokens
        assert values["engineroom_prompt_tokens_total{key=alice,model=echo}"] == 3 * whole["usage"]["prompt_tokens"]
        assert values["engineroom_cache_requests_total{result=hit}"] == 1
        assert values[f"engineroom_inter_token_seconds_count{{model=echo,{route}}}"] >= 1
        for gauge in ("requests_running", "requests_waiting", "breaker_open"):
            assert values[f"engineroom_{gauge}{{}}"] == 0
        assert values["engineroom_engine_ready{}"] == 1
        assert values["engineroom_process_resident_memory_bytes{}"] > 0
        assert values["engineroom_echo_running{}"] == 0
        summary = httpx.get(f"{door.url}/metrics.json").json()
        assert summary["requests"]["by_status"] == {"200": 4, "404": 2, "401": 1}
        assert summary["seconds"]["time_to_first_token"]["count"] == 1
        assert 0 < summary["seconds"]["request"]["p50"] <= summary["seconds"]["request"]["p99"]
        counts = {name: summary["seconds"][name]["count"] for name in ("request", "cached", "error", "left")}
        assert counts == {"request": 3, "cached": 1, "error": 3, "left": 0}, "percentiles are of answers"
        timed = f"engineroom_request_seconds_count{{model=echo,outcome=answered,{route}}}"
        assert values[timed] == 3
        assert httpx.get(f"{door.url}/metrics", headers={"accept": "application/json"}).json().keys() == summary.keys()
        prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        for accept in ("*/*", prometheus, "application/json, text/plain"):
            scraped = httpx.get(f"{door.url}/metrics", headers={"accept": accept})
            assert scraped.headers["content-type"].startswith("text/plain"), accept
        for sent in ({}, {"json": {}}, {"content": b"{no json"}):
            listed = httpx.post(f"{door.url}/v1/models", headers=alice, **sent)  # type: ignore[arg-type]
            assert [model["id"] for model in listed.json()["data"]] == ["echo"], "as max-serve-llama's clients ask"
        assert httpx.post(f"{door.url}/v1/models").status_code == 401
        assert summary["models"] == ["echo"]
        assert "sk-alice" not in json.dumps(summary)


def test_token_counters_move_while_a_response_streams() -> None:
    """They stood still for as long as a response took, and then jumped by all of its tokens."""
    body = {"messages": HELLO, "stream": True, "max_tokens": 100_000, "ignore_eos": True, "echo_tokens_per_s": 20}
    with serving() as door, httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body) as response:
        pieces = response.iter_raw()
        next(pieces)

        def tokens() -> tuple[float, float]:
            summary = httpx.get(f"{door.url}/metrics.json").json()
            return door.metric("engineroom_completion_tokens_total"), summary["tokens"]["completion"]

        until(lambda: min(tokens()) > 0)
        before = max(tokens())
        until(lambda: min(tokens()) > before)
        assert door.metric("engineroom_requests_running") == 1


def test_what_has_gone_to_a_client_is_measured_whenever_somebody_looks() -> None:
    """Pieces are measured many at a time; a stream that stands still has no more to come."""
    body = {"messages": HELLO, "stream": True, "max_tokens": 100_000, "ignore_eos": True, "echo_tokens_per_s": 2}
    with serving() as door, httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body) as response:
        pieces = response.iter_raw()
        for _ in range(4):
            next(pieces)
        assert door.metric("engineroom_time_to_first_token_seconds_count") == 1
        assert door.metric("engineroom_inter_token_seconds_count") >= 2
        for _ in range(2):
            next(pieces)
        seconds = httpx.get(f"{door.url}/metrics.json").json()["seconds"]
        assert seconds["time_to_first_token"]["count"] == 1
        assert seconds["inter_token"]["count"] >= 4


def test_tokens_of_a_stream_whose_client_left_are_counted() -> None:
    body = {"messages": HELLO, "stream": True, "max_tokens": 100_000, "ignore_eos": True, "echo_tokens_per_s": 20}
    with serving() as door:
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body) as response:
            pieces = response.iter_raw()
            for _ in range(5):
                next(pieces)
        until(lambda: door.metric("engineroom_requests_running") == 0)
        assert 0 < door.metric("engineroom_completion_tokens_total") < 100_000


def test_metrics_can_be_switched_off() -> None:
    with serving({"METRICS": "false"}) as door:
        assert httpx.get(f"{door.url}/metrics").status_code == 404
        assert ask(door).status_code == 200


def test_percentiles_by_nearest_rank() -> None:
    now = 1000.0
    recent = RecentSamples(lambda: now)
    recent.add(now - 301, 99.0)
    for value in range(1, 101):
        recent.add(now, float(value))
    assert recent.summary() == {"count": 100, "p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert RecentSamples().summary() == {"count": 0, "p50": None, "p95": None, "p99": None}


def test_gpus_as_nvidia_smi_tells() -> None:
    csv = "0, NVIDIA H200, 37, 1024, 143771, 41, 120.50\n1, Small GPU, [N/A], 10, 100, 30, [N/A]\n"
    first, second = parse(csv)
    assert first["utilisation_ratio"] == 0.37
    assert first["memory_used_bytes"] == 1024**3
    assert second == {
        "index": "1",
        "name": "Small GPU",
        "memory_used_bytes": 10 * 1024**2,
        "memory_total_bytes": 100 * 1024**2,
        "temperature_celsius": 30,
    }


STAND_IN_NVIDIA_SMI = """#!/bin/sh
case "$*" in *--id=1*) ;; *) echo "0, NVIDIA H200, 37, 1024, 143771, 41, 120.50" ;; esac
echo "1, NVIDIA H200, 50, 2048, 143771, 45, 130.00"
"""


def test_gauges_are_of_the_gpus_that_are_ours(tmp_path: Path) -> None:
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text(STAND_IN_NVIDIA_SMI)
    stand_in.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    gauge = "engineroom_gpu_utilisation_ratio{gpu=%s}"
    with serving(path) as door:
        assert {gauge % 0: 0.37, gauge % 1: 0.5}.items() <= samples(door).items()
        assert len(httpx.get(f"{door.url}/metrics.json").json()["gpus"]) == 2
    with serving({**path, "CUDA_VISIBLE_DEVICES": "1"}) as door:
        values = samples(door)
        assert values[gauge % 1] == 0.5
        assert gauge % 0 not in values


async def test_who_gives_up_on_the_gpus_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text(f"#!/bin/sh\necho $$ > {started}.new\nmv {started}.new {started}\nexec sleep 600\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    reading = asyncio.ensure_future(GPUs().read())
    while not started.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait([reading])
    assert not psutil.pid_exists(int(started.read_text()))


def test_the_dashboard_shows_only_what_there_is(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    settings = {"MAX_CONCURRENT_REQUESTS": "2", "BREAKER_FAILURES": "3", "CACHE_TTL": "9", "ENGINE_RESTARTS": "1"}
    try:
        with serving({**settings, "REDIS_URL": server.url, "DOOR_PROCESSES": "2"}) as door:
            ask(door, stream=True, temperature=0)
            until(lambda: "engineroom_requests_total" in {key.partition("{")[0] for key in samples(door)})
            exported = {key.partition("{")[0] for key in samples(door)}
    finally:
        server.stop()
    dashboard = Path(__file__).parents[3] / "docs" / "grafana" / "engineroom.json"
    shown = set(re.findall(r"engineroom_[a-z_]+", dashboard.read_text(encoding="utf-8")))
    assert {name for name in shown if not name.startswith("engineroom_gpu_")} <= exported
