"""A worker with several models, over a real socket: who is served when, and what becomes of what goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_door import Door, serving
from server_process import until

from engineroom.process import descendants

TABLE: list[dict[str, Any]] = [
    {"name": "a", "aliases": ["first"], "memory": "10 MB"},
    {"name": "b", "memory": "10 MB", "echo_start_s": 0.2},
    {"name": "c", "memory": "10 MB", "ECHO_MAX_MODEL_LEN": 64},
    {"name": "broken", "memory": "10 MB", "echo_fault": "start"},
    {"name": "small", "engine": "llamacpp", "memory": "10 MB", "ctx_size": 512, "threads": 1, "engine_hang_timeout": 2},
]
ROOM = {"MODELS_MEMORY_GB": "0.02", "MODELS_MAX_WAIT": "1", "PAGE": "false"}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving({"MODELS": json.dumps(TABLE), **ROOM}) as running:
        yield running


def chat(door: Door, model: str | None, text: str = "Hello", **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], **({"model": model} if model else {}), **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=120)


def resident(door: Door, name: str) -> dict[str, Any]:
    report: dict[str, Any] = httpx.get(f"{door.url}/health", timeout=30).json()
    return next(model for model in report["residence"] if model["name"] == name)


def test_each_model_answers_for_itself(door: Door) -> None:
    for name in ("a", "first", "b", "c", "small"):
        answer = chat(door, name, max_tokens=4)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == name
    assert chat(door, None).json()["model"] == "a"


def test_a_setting_of_an_entry_is_its_own(door: Door) -> None:
    assert chat(door, "c", "x" * 400).status_code == 400
    assert chat(door, "a", "x" * 400).status_code == 200


def test_the_list_has_all_models_and_their_states(door: Door) -> None:
    listed = httpx.get(f"{door.url}/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["a", "first", "b", "c", "broken", "small"]
    assert {model["state"] for model in listed} <= {"absent", "loading", "resident", "draining", "unloading"}
    assert httpx.get(f"{door.url}/v1/models/first").json()["alias_of"] == "a"
    assert httpx.get(f"{door.url}/v1/models/nobody").status_code == 404


def test_who_starts_it_is_told_what_it_serves(door: Door) -> None:
    door.says("ready: engineroom serves 5 models (a, b, c, broken, small) on http://127.0.0.1:")


def test_an_unknown_model_is_a_404_with_the_names(door: Door) -> None:
    answer = chat(door, "nobody")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "`small`" in answer.json()["error"]["message"]
    assert chat(door, 7).status_code == 400  # type: ignore[arg-type]


def test_what_cannot_be_loaded_fails_its_own_requests_alone(door: Door) -> None:
    answer = chat(door, "broken")
    assert answer.status_code == 503
    assert "ECHO_FAULT=start" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) >= 1
    assert chat(door, "a").status_code == 200
    assert httpx.get(f"{door.url}/ping").status_code == 200
    assert resident(door, "broken")["reason"]


def test_mixed_traffic_fails_for_nobody(door: Door) -> None:
    async def ask_all() -> Counter[int]:
        order = [random.Random(7).choice(["a", "b", "c", "small"]) for _ in range(60)]
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=20)) as client:

            async def ask(model: str) -> int:
                body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]}
                return (await client.post(f"{door.url}/v1/chat/completions", json=body)).status_code

            return Counter(await asyncio.gather(*map(ask, order)))

    assert asyncio.run(ask_all()) == {200: 60}


def test_a_request_for_one_that_died_loads_it_again(door: Door) -> None:
    assert chat(door, "b", echo_fault="die").status_code == 503
    until(lambda: resident(door, "b")["failures"] >= 1)
    assert chat(door, "b").status_code == 200


def test_a_server_that_is_killed_costs_no_request(door: Door) -> None:
    """Its death is noticed while nobody asks; who asks then gets a new one."""
    assert chat(door, "small", max_tokens=2).status_code == 200
    before = resident(door, "small")["loads"]
    (server, *_) = [pid for pid in descendants(door.process.pid) if b"llamacpp" in command_line(pid)][::-1]
    os.kill(server, signal.SIGKILL)
    until(lambda: resident(door, "small")["phase"] == "absent")
    assert chat(door, "small", max_tokens=2).status_code == 200
    assert resident(door, "small")["loads"] == before + 1


def test_a_server_that_hangs_costs_no_request(door: Door) -> None:
    """Whoever asks it waits until it is taken for dead, and then gets another."""
    assert chat(door, "small", max_tokens=2).status_code == 200
    before = resident(door, "small")["loads"]
    for pid in descendants(door.process.pid):
        if b"llamacpp" in command_line(pid):
            os.kill(pid, signal.SIGSTOP)
    assert chat(door, "small", max_tokens=2).status_code == 200
    assert resident(door, "small")["loads"] == before + 1


def test_a_client_that_leaves_waits_no_longer(door: Door) -> None:
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{door.url}/v1/chat/completions", json={"model": "b", "messages": []}, timeout=0.001)
    until(lambda: resident(door, "b")["waiting"] == 0)


def test_responses_can_be_had_again_whichever_model_is_loaded(door: Door) -> None:
    response = httpx.post(f"{door.url}/v1/responses", json={"model": "b", "input": "Remember me"}, timeout=60).json()
    for name in ("a", "c"):
        chat(door, name)
    again = httpx.get(f"{door.url}/v1/responses/{response['id']}", timeout=60)
    assert again.json()["output"] == response["output"]
    more = {"model": "c", "input": "And now?", "previous_response_id": response["id"]}
    assert httpx.post(f"{door.url}/v1/responses", json=more, timeout=60).status_code == 200


def test_metrics_tell_models_apart(door: Door) -> None:
    chat(door, "a")
    text = httpx.get(f"{door.url}/metrics", timeout=30).text
    assert 'engineroom_model_resident{model="a"} 1' in text
    assert 'engineroom_echo_tokens_total{model="a"}' in text
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_any_moment_it_leaves_nothing(number: signal.Signals) -> None:
    table = [{"name": name, "engine": "llamacpp", "memory": "10 MB", "threads": 1, "ctx_size": 64} for name in "xyz"]
    environ = {"MODELS": json.dumps(table), **ROOM, "DRAIN_TIMEOUT": "0.1"}
    with serving(environ) as running:

        def ask(name: str) -> None:
            with suppress(httpx.HTTPError):  # It is killed meanwhile.
                chat(running, name, max_tokens=2)

        clients = [threading.Thread(target=ask, args=(name,), daemon=True) for name in "xyz"]
        for client in clients:
            client.start()
        until(lambda: descendants(running.process.pid))
        time.sleep(random.uniform(0, 0.8))
        processes = descendants(running.process.pid)
        running.signal(number)
        running.ended()
        until(lambda: not [pid for pid in processes if b"llamacpp" in command_line(pid)], 30)
        for client in clients:
            client.join(30)
