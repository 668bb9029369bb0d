"""What Kubernetes asks of the HTTP door, as a kubelet asks it: over a connection of its own each time."""

from __future__ import annotations

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
from http_door import Door, ask, free_port, serving
from server_process import until

DIE = {"stream": True, "echo_fault": "die", "echo_fault_after": 2, "echo_tokens_per_s": 20}


def probe(door: Door, path: str) -> tuple[int, dict[str, Any]]:
    """The status and the content of the answer to a probe."""
    asking = http.client.HTTPConnection(urlsplit(door.url).netloc, timeout=10)
    try:
        asking.request("GET", path, headers={"User-Agent": "kube-probe/1.37", "Connection": "close"})
        answer = asking.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        asking.close()


def statuses(door: Door) -> dict[str, int]:
    return {path: probe(door, path)[0] for path in ("/livez", "/readyz", "/startupz")}


def test_an_engine_that_loads_is_alive_not_ready_and_not_started() -> None:
    with serving({"ECHO_START_S": "2"}, ready=False) as door:
        door.until(204)
        assert statuses(door) == {"/livez": 200, "/readyz": 503, "/startupz": 503}
        start = probe(door, "/startupz")[1]
        assert start["started"] is False
        assert (start["phase"], start["progress"]) == ("loading", None)
        assert start["seconds"] > 0
        assert "listening" in [mark["phase"] for mark in start["timeline"]]
        assert probe(door, "/readyz")[1] == {"ready": False, "reason": "loading"}
        door.until(200)
        until(lambda: statuses(door) == {"/livez": 200, "/readyz": 200, "/startupz": 200})
        start = probe(door, "/startupz")[1]
        assert start["phase"] == "started"
        assert start["seconds"] == start["timeline"][-1]["seconds"], "the time of the start, not of the question"


def test_while_an_engine_is_started_again_the_worker_is_alive() -> None:
    with serving({"ENGINE_RESTARTS": "2", "ECHO_START_S": "1"}) as door:
        until(lambda: statuses(door)["/startupz"] == 200)
        ask(door, **DIE)
        assert statuses(door) == {"/livez": 200, "/readyz": 503, "/startupz": 200}
        assert probe(door, "/readyz")[1]["reason"].startswith("restarting")
        door.until(200)
        assert statuses(door) == {"/livez": 200, "/readyz": 200, "/startupz": 200}


def test_an_engine_that_is_dead_for_good_is_not_alive() -> None:
    with serving() as door:
        ask(door, **DIE)
        until(lambda: statuses(door)["/livez"] == 503)
        assert statuses(door)["/readyz"] == 503
        assert probe(door, "/livez")[1]["reason"]


def test_they_need_no_key_and_do_not_wait_for_anybody() -> None:
    """The engine does not answer, the queue is full, and the limits are used up."""
    port = free_port()
    settings = {
        "API_KEYS": "alice:sk-1",
        "MAX_CONCURRENT_REQUESTS": "1",
        "MAX_QUEUED_REQUESTS": "1",
        "REQUESTS_PER_MINUTE": "2",
        "PORT_HEALTH": str(port),
    }
    headers = {"Authorization": "Bearer sk-1"}
    body = {"messages": [{"role": "user", "content": "Hello"}], "echo_ttft_ms": 600_000}

    with serving(settings) as door, ThreadPoolExecutor(2) as pool:
        url = f"{door.url}/v1/chat/completions"
        clients = [httpx.Client(headers=headers, timeout=60) for _ in range(2)]
        for client in clients:
            pool.submit(client.post, url, json=body)
        until(lambda: httpx.get(f"{door.url}/health").json().get("waiting") == 1)
        assert httpx.post(url, json=body, headers=headers).status_code == 429
        assert httpx.post(url, json=body).status_code == 401
        for _ in range(20):
            assert statuses(door) == {"/livez": 200, "/readyz": 200, "/startupz": 200}
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        assert httpx.post(f"{door.url}/readyz").status_code == 405
        door.process.kill()
        for client in clients:
            client.close()


def test_a_flood_at_the_other_port_fails_no_health_check() -> None:
    port = free_port()
    settings = {"MAX_REQUEST_MB": "0.1", "REQUEST_MEMORY_MB": "0.4", "PORT_HEALTH": str(port)}
    with serving(settings) as door, ExitStack() as stack:
        address = ("127.0.0.1", int(door.url.rpartition(":")[2]))
        for _ in range(40):
            stack.enter_context(socket.create_connection(address))
        until(lambda: httpx.get(f"{door.url}/livez").status_code == 503)
        for _ in range(5):
            for path in ("/livez", "/readyz", "/ping"):
                assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200


def test_a_slip_in_their_names_is_told() -> None:
    with serving() as door:
        for slip in ("/livez/", "/v1/readyz", "//startupz"):
            answer = httpx.get(door.url + slip)
            assert answer.status_code == 404
            assert "Did you mean" in answer.json()["error"]["message"]
