"""How the HTTP door goes out of service: lame duck, drain and end, over sockets as balancers and clients have them."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from http_door import Door, ask, serving
from server_process import until

LONG = {"max_tokens": 40, "ignore_eos": True, "stream": True, "echo_tokens_per_s": 20}


class Answer:
    """What a client sees of a response: status, headers in lower case, and the decoded body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.content = json.loads(response.read() or b"null")


class KeptConnection:
    """A connection that a balancer keeps: it never opens another by itself."""

    def __init__(self, door: Door) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(door.url).netloc, timeout=30)
        self._connection.connect()
        self._connection.auto_open = 0

    def ask(self, size: int = 0) -> Answer:
        """size: bytes of its question, about."""
        body = json.dumps({"messages": [{"role": "user", "content": "Hello" + " " * size}]})
        self._connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        return Answer(self._connection.getresponse())

    def close(self) -> None:
        self._connection.close()


@contextmanager
def kept_connection(door: Door) -> Iterator[KeptConnection]:
    connection = KeptConnection(door)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def stream(door: Door, **fields: Any) -> Iterator[list[str]]:
    """A stream that has begun; its lines, once the block is left."""
    body = {"messages": [{"role": "user", "content": "Hello"}], **LONG, **fields}
    lines: list[str] = []
    with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body, timeout=60) as answer:
        rest = answer.iter_lines()
        lines.append(next(rest))
        reader = threading.Thread(target=lambda: lines.extend(rest))
        reader.start()
        yield lines
        reader.join(60)


def status(door: Door, path: str) -> int:
    return httpx.get(door.url + path, timeout=30).status_code


def drain(door: Door, method: str = "POST", **headers: str) -> httpx.Response:
    return httpx.request(method, f"{door.url}/drain", headers=headers, timeout=30)


def test_a_lame_duck_is_not_ready_and_serves() -> None:
    with serving({"LAME_DUCK": "600"}) as door, kept_connection(door) as old:
        assert "connection" not in old.ask().headers
        door.signal(signal.SIGTERM)
        door.until(204)
        assert [status(door, path) for path in ("/readyz", "/health", "/livez", "/startupz")] == [503, 503, 200, 200]
        assert httpx.get(f"{door.url}/readyz").json()["reason"].startswith("draining: requests are still served for")
        with kept_connection(door) as new, stream(door) as lines:
            for connection in (old, new):
                answer = connection.ask()
                assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert status(door, "/metrics") == 200
        assert lines[-2:] == ["data: [DONE]", ""]
        assert door.process.poll() is None
        door.signal(signal.SIGTERM)
        assert door.ended() == 0
        assert "600 s (LAME_DUCK)" in door.log


def test_what_comes_after_it_is_refused_so_that_it_can_be_tried_again() -> None:
    """The stream is drained: the signal that ends the lame duck ends nothing else."""
    with serving({"LAME_DUCK": "600"}) as door, kept_connection(door) as old:
        assert old.ask().status == 200
        with stream(door) as lines:
            door.signal(signal.SIGTERM)
            door.until(204)
            door.signal(signal.SIGTERM)
            door.says("draining: 1 running requests")
            with kept_connection(door) as new:
                for connection in (old, new):
                    answer = connection.ask()
                    assert answer.status == 503
                    assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
                    assert answer.content["error"]["code"] == "draining"
            assert [status(door, path) for path in ("/livez", "/readyz", "/ping", "/metrics")] == [200, 503, 204, 200]
        assert lines[-2:] == ["data: [DONE]", ""]
        assert door.ended() == 0


def test_a_large_request_is_refused_by_an_answer_and_not_by_a_broken_connection() -> None:
    """Closed amid what its client sends, a connection would take the answer with it."""
    with serving() as door:
        drain(door)
        for _ in range(3):
            with kept_connection(door) as connection:
                answer = connection.ask(size=20_000_000)
                assert (answer.status, answer.headers["connection"]) == (503, "close")


def test_a_third_signal_ends_the_drain() -> None:
    with serving({"LAME_DUCK": "600", "DRAIN_TIMEOUT": "600"}) as door, stream(door, max_tokens=100_000) as lines:
        door.signal(signal.SIGINT)
        door.until(204)
        door.signal(signal.SIGINT)
        door.says("draining: 1 running requests")
        door.signal(signal.SIGINT)
        assert door.ended() == 0
    assert "shutting down" in "".join(lines)


@pytest.mark.parametrize(("host", "seconds"), [("10.0.0.1", "15 s"), ("", "")])
def test_it_is_as_long_as_a_pod_needs_by_default(host: str, seconds: str) -> None:
    with serving({"LAME_DUCK": "", "KUBERNETES_SERVICE_HOST": host}) as door:
        door.signal(signal.SIGTERM)
        if seconds:
            door.says(f"requests are served for {seconds}")
            door.signal(signal.SIGTERM)
        assert door.ended() == 0
        assert ("LAME_DUCK" in door.log) == bool(seconds)


def test_an_engine_that_dies_meanwhile_ends_it() -> None:
    with serving({"LAME_DUCK": "600"}) as door:
        door.signal(signal.SIGTERM)
        door.until(204)
        assert "engine_dead" in ask(door, stream=True, echo_fault="die", echo_fault_after=1).text
        assert door.ended() == 0


def test_a_worker_that_still_loads_has_nothing_to_wait_for() -> None:
    with serving({"LAME_DUCK": "600", "ECHO_START_S": "60"}, ready=False) as door:
        door.until(204)
        door.signal(signal.SIGTERM)
        assert door.ended() == 0


def test_an_operator_drains_a_worker_and_takes_it_back() -> None:
    with serving() as door, kept_connection(door) as old:
        assert old.ask().status == 200
        with stream(door) as lines:
            for _ in range(2):
                answer = drain(door)
                assert (answer.status_code, answer.json()) == (
                    200,
                    {"draining": True, "lame_duck_s": 0, "running": 1},
                )
            assert [status(door, path) for path in ("/livez", "/readyz", "/ping")] == [200, 503, 204]
            assert (
                httpx.get(f"{door.url}/health").json() | {"ready": False, "live": True}
                == httpx.get(f"{door.url}/health").json()
            )
            refused = old.ask()
            assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert lines[-2:] == ["data: [DONE]", ""]
        assert door.process.poll() is None
        assert drain(door, "DELETE").json()["draining"] is False
        assert status(door, "/readyz") == 200
        assert ask(door).status_code == 200
        assert drain(door, "GET").status_code == 405


def test_an_operator_s_drain_has_a_lame_duck_too_of_which_a_signal_waits_for_the_rest() -> None:
    with serving({"LAME_DUCK": "600"}) as door:
        assert 590 < drain(door).json()["lame_duck_s"] <= 600
        assert ask(door).status_code == 200
        door.signal(signal.SIGTERM)
        door.says("requests are served for")
        late = drain(door, "DELETE")
        assert (late.status_code, late.json()["error"]["code"]) == (409, "shutting_down")
        assert status(door, "/readyz") == 503
        door.signal(signal.SIGTERM)
        assert door.ended() == 0


@pytest.mark.parametrize(
    "headers",
    [{"x-forwarded-for": "203.0.113.7"}, {"host": "rebound.example"}, {"origin": "https://evil.example"}],
)
def test_without_keys_only_programs_of_this_machine_may_drain_it(door: Door, headers: dict[str, str]) -> None:
    refused = drain(door, **headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operators_only")
    assert status(door, "/readyz") == 200


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving() as door:
        yield door


def test_with_keys_it_takes_an_operator_s(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("alice: sk-1\nbob: {key: sk-2, operator: true}\n")
    with serving({"API_KEYS_FILE": str(keys)}) as door:
        assert drain(door).status_code == 401
        assert drain(door, authorization="Bearer sk-1").status_code == 403
        assert status(door, "/readyz") == 200
        assert drain(door, authorization="Bearer sk-2", host="worker.example").status_code == 200
        until(lambda: status(door, "/readyz") == 503)
