"""What operators of several models ask of the HTTP door, and who may."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_door import Door, ask, serving

MODELS = [
    {"name": "a", "engine": "echo", "memory": "1 GB", "aliases": ["first"]},
    {"name": "org/b", "engine": "echo", "memory": "1 GB"},
    {"name": "slow", "engine": "echo", "memory": "1 GB", "echo_tokens_per_s": 20},
    {"name": "broken", "engine": "echo", "memory": "1 GB", "echo_fault": "start"},
]
ROOM_FOR_TWO = {"ENGINE": "", "MODELS": json.dumps(MODELS), "MODELS_MEMORY_GB": "2", "PAGE": "false"}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(
        {**ROOM_FOR_TWO, "MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "1", "BREAKER_FAILURES": "1"}
    ) as door:
        yield door


def wish(door: Door, path: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{door.url}/v1/models/{path}", headers=headers, timeout=60)


def running(door: Door, **headers: str) -> dict[str, dict[str, Any]]:
    """The models that are not absent, by name."""
    answer = httpx.get(f"{door.url}/running", headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return {model["model"]: model for model in answer.json()["running"]}


def until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_model_is_loaded_and_unloaded_by_its_name_or_an_alias(door: Door) -> None:
    for path, name in (("a", "a"), ("first", "a"), ("org/b", "org/b"), ("org%2Fb", "org/b")):
        loaded = wish(door, f"{path}/load")
        assert (loaded.status_code, loaded.json()["state"], loaded.json()["model"]) == (200, "resident", name)
        assert running(door)[name]["state"] == "resident"
        unloaded = wish(door, f"{path}/unload")
        assert (unloaded.status_code, unloaded.json()["state"]) == (200, "absent")
        assert name not in running(door)
    assert wish(door, "a/unload").status_code == 200


def test_every_model_is_listed_with_its_state(door: Door) -> None:
    wish(door, "a/load")
    listed = {model["id"]: model for model in httpx.get(f"{door.url}/v1/models", timeout=60).json()["data"]}
    assert list(listed) == ["a", "first", "org/b", "slow", "broken"]
    assert listed["a"]["state"] == listed["first"]["state"] == "resident"
    assert listed["broken"]["state"] == "absent"
    assert httpx.get(f"{door.url}/v1/models/org/b", timeout=60).json()["id"] == "org/b"


def test_a_load_that_fails_says_why_and_is_nothing_to_the_circuit_breaker(door: Door) -> None:
    failed = wish(door, "broken/load")
    assert failed.status_code == 503
    assert "ECHO_FAULT=start" in failed.json()["error"]["message"]
    assert ask(door, model="a").status_code == 200


def test_what_is_no_model_or_no_route_is_a_404(door: Door) -> None:
    unknown = wish(door, "nobody/load")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert "`org/b`" in unknown.json()["error"]["message"]
    assert wish(door, "a/reload").status_code == 404
    assert wish(door, "load").status_code == 404
    assert httpx.post(f"{door.url}/running", timeout=60).status_code == 405
    assert httpx.get(f"{door.url}/v1/models/a/load", timeout=60).status_code == 404


def test_operators_do_not_queue_behind_requests(door: Door) -> None:
    """One runs and one waits, so that the next request is refused; a busy model ends what it is at before it goes."""
    wish(door, "slow/load")
    text = {"messages": [{"role": "user", "content": "word " * 40}], "model": "slow"}
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(door, **text))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: httpx.get(f"{door.url}/health", timeout=60).json()["waiting"] == 1)
    assert ask(door, model="a").status_code == 503
    assert wish(door, "a/load").status_code == 200
    assert wish(door, "slow/unload").status_code == 200
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.7"},
        {"host": "rebound.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_without_keys_only_this_machine_s_programs_change_anything(door: Door, headers: dict[str, str]) -> None:
    wish(door, "a/load")
    refused = wish(door, "a/unload", **headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operators_only")
    assert "API_KEYS" in refused.json()["error"]["message"]
    assert running(door, **headers)["a"]["state"] == "resident"
    own = {"origin": door.url}
    assert wish(door, "a/unload", **own).status_code == 200


def test_with_keys_each_key_may_from_anywhere() -> None:
    with serving({**ROOM_FOR_TWO, "API_KEYS": "me:sk-me"}) as door:
        key = {"authorization": "Bearer sk-me"}
        elsewhere = {"x-forwarded-for": "203.0.113.7"}
        assert httpx.get(f"{door.url}/running", timeout=60).status_code == 401
        assert wish(door, "a/load").status_code == 401
        assert wish(door, "a/load", **key, **elsewhere).status_code == 200
        assert running(door, **key)["a"]["state"] == "resident"


def test_where_a_key_is_marked_as_an_operator_s_no_other_changes_anything(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("me: {key: sk-me, operator: true}\nyou: sk-you\n")
    with serving({**ROOM_FOR_TWO, "API_KEYS_FILE": str(file)}) as door:
        mine = {"authorization": "Bearer sk-me"}
        yours = {"authorization": "Bearer sk-you"}
        assert wish(door, "a/load", **mine).status_code == 200
        refused = wish(door, "a/unload", **yours)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operators_only")
        assert "the key you is not an operator's" in refused.json()["error"]["message"]
        assert running(door, **yours)["a"]["state"] == "resident"
        assert wish(door, "a/unload", **mine).status_code == 200


def test_a_worker_with_one_model_has_no_such_routes() -> None:
    with serving({}) as door:
        assert httpx.get(f"{door.url}/running", timeout=60).status_code == 404
        assert httpx.post(f"{door.url}/v1/models/echo/load", json={}, timeout=60).status_code == 405
