"""An engine that dies: restarts, and the requests that its death caught; from outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
from http_door import ask, serving
from server_process import until

DIE = {"stream": True, "echo_fault": "die", "echo_fault_after": 2, "echo_tokens_per_s": 20}


def test_an_engine_that_dies_is_started_again() -> None:
    with serving({"ENGINE_RESTARTS": "2", "ECHO_START_S": "2"}) as door, ThreadPoolExecutor(2) as pool:
        caught = pool.submit(ask, door, echo_ttft_ms=4000)
        begun = pool.submit(ask, door, stream=True, max_tokens=1000, ignore_eos=True, echo_tokens_per_s=20)
        until(lambda: door.metric("engineroom_echo_running") == 2)
        died = ask(door, **DIE)
        assert "engine_dead" in died.text
        health = httpx.get(f"{door.url}/health")
        assert health.status_code == 503
        assert health.json()["live"] is True
        assert health.json()["reason"].startswith("restarting")
        assert door.ping() == 204
        assert "engine_dead" in begun.result().text  # What has begun cannot be asked again: its client is told.
        assert caught.result().status_code == 200
        door.until(200)
        door.says("the engine is back")
        assert ask(door).status_code == 200


def test_those_who_wait_for_their_turn_when_it_dies_get_it_from_the_next() -> None:
    settings = {"ENGINE_RESTARTS": "2", "MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "4"}
    with serving(settings) as door, ThreadPoolExecutor(4) as pool:
        dies = pool.submit(ask, door, **{**DIE, "echo_tokens_per_s": 0.5})
        until(lambda: door.metric("engineroom_echo_running") == 1)
        waiting = [pool.submit(ask, door) for _ in range(3)]
        until(lambda: door.metric("engineroom_requests_waiting") == 3)
        assert "engine_dead" in dies.result().text
        assert [answer.result().status_code for answer in waiting] == [200] * 3


def test_restarts_are_bounded() -> None:
    with serving({"ENGINE_RESTARTS": "1"}) as door:
        ask(door, **DIE)
        door.says("the engine is back")
        assert "engine_dead" in ask(door, **DIE).text
        door.until(503)
        assert httpx.get(f"{door.url}/health").json()["live"] is False
        assert door.ended() == 1


def test_sigterm_amid_a_restart_ends_the_door() -> None:
    with serving({"ENGINE_RESTARTS": "5", "ECHO_START_S": "2"}) as door:
        ask(door, **DIE)
        door.until(204)
        door.process.terminate()
        assert door.ended() == 0


def test_a_request_that_kills_every_engine_is_asked_twice_and_no_more() -> None:
    with serving({"ENGINE_RESTARTS": "5"}) as door:
        answer = ask(door, echo_fault="die")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
        until(lambda: door.metric("engineroom_engine_restarts") == 2)
        assert ask(door).status_code == 200
        assert door.metric("engineroom_engine_restarts") == 2


def test_while_an_engine_is_started_again_clients_are_told_when_to_come_back() -> None:
    with serving({"ENGINE_RESTARTS": "5", "ECHO_START_S": "3"}) as door:
        ask(door, **DIE)
        refused = ask(door)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_loading")
        assert int(refused.headers["retry-after"]) >= 1
