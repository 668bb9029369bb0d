"""The HTTP door from outside: a process, its socket, and the openai client."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial

import httpx
import openai
import pytest
from http_door import COMMAND, Door, free_port
from http_door import serving as serving_either
from server_process import until

serving = partial(serving_either, anew=True)

HELLO = [{"role": "user", "content": "Hello 🦙 there"}]
SLOW = {"echo_tokens_per_s": 20, "ignore_eos": True}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving() as door:
        yield door


@pytest.fixture
def client(door: Door) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=HELLO)
    assert answer.choices[0].message.content == "Hello 🦙 there"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 1


def test_a_streamed_chat(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="echo", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello 🦙 there"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["echo"]


def test_a_request_without_a_model_goes_to_the_one_there_is(door: Door) -> None:
    answer = httpx.post(f"{door.url}/v1/chat/completions", json={"messages": HELLO})
    assert answer.status_code == 200
    assert answer.json()["model"] == "echo"


def test_errors_are_openais(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nope", messages=HELLO)
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="echo", messages=HELLO, max_tokens=-1)
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        client.get("/nothing", cast_to=object)


def test_ping_and_health_follow_the_engine() -> None:
    with serving({"ECHO_START_S": "3"}, ready=False) as door:
        door.until(204)
        health = httpx.get(f"{door.url}/health")
        assert health.status_code == 503
        assert health.json() | {"live": True, "ready": False, "reason": "loading"} == health.json()
        chat = httpx.post(f"{door.url}/v1/chat/completions", json={"messages": HELLO})
        assert chat.status_code == 503
        assert int(chat.headers["retry-after"]) > 0
        assert chat.json()["error"]["code"] == "engine_loading"
        door.until(200)
        health = httpx.get(f"{door.url}/health")
        assert health.status_code == 200
        assert health.json()["models"] == ["echo"]
        # The engine answers a moment before the door notes that it does.
        until(lambda: httpx.get(f"{door.url}/health").json()["timeline"][-1]["phase"] == "engine ready")


def test_a_second_port_for_health_checks() -> None:
    port = free_port()
    with serving({"PORT_HEALTH": str(port)}):
        assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200


def test_a_second_port_is_one_that_its_balancer_can_know() -> None:
    with serving({"PORT": "0", "PORT_HEALTH": "0"}, ready=False) as door:
        assert door.ended() == 2
        door.says("PORT_HEALTH (from environment): expected at least 1")


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_the_engine(door: Door, stream: bool) -> None:
    body = {"messages": HELLO, "max_tokens": 1000, "stream": stream, **SLOW}
    if stream:
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body) as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            assert door.metric("engineroom_echo_running") == 1
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{door.url}/v1/chat/completions", json=body, timeout=0.5)
    deadline = time.monotonic() + 30
    while door.metric("engineroom_echo_running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigterm_lets_running_requests_finish() -> None:
    with serving() as door:
        texts: list[str] = []
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
        body = {"model": "echo", "messages": HELLO, "max_tokens": 40, "stream": True}
        stream = client.chat.completions.create(**body, extra_body=SLOW)
        next(stream)
        reader = threading.Thread(target=lambda: texts.extend(c.choices[0].finish_reason or "" for c in stream))
        reader.start()
        door.signal(signal.SIGTERM)
        door.until(0)
        assert door.ended() == 0
        reader.join(60)
        assert texts[-1] == "length"


def test_a_drain_has_a_limit_and_the_client_is_told() -> None:
    with serving({"DRAIN_TIMEOUT": "0.5"}) as door:
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
        stream = client.chat.completions.create(
            model="echo", messages=HELLO, max_tokens=100_000, stream=True, extra_body=SLOW
        )
        next(stream)
        door.signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="shutting down"):
            list(stream)
        assert door.ended() == 0


def test_a_second_signal_ends_it_at_once() -> None:
    with serving({"DRAIN_TIMEOUT": "100"}) as door:
        body = {"messages": HELLO, "max_tokens": 100_000, "stream": True, **SLOW}
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body) as answer:
            chunks = answer.iter_bytes()
            next(chunks)
            door.signal(signal.SIGINT)
            door.until(204)
            door.signal(signal.SIGINT)
            assert door.ended() == 0


def test_a_dead_engine_is_said_and_ends_the_door() -> None:
    with serving() as door:
        body = {"messages": HELLO, "stream": True, "echo_fault": "die", "echo_fault_after": 3, **SLOW}
        text = httpx.post(f"{door.url}/v1/chat/completions", json=body).text
        assert "engine_dead" in text
        door.until(503)
        answer = httpx.post(f"{door.url}/v1/chat/completions", json={"messages": HELLO})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "engine_dead"
        assert httpx.get(f"{door.url}/health").json()["live"] is False
        assert door.ended() == 1
        assert "the engine is gone" in door.log


def test_a_failed_start_says_why_and_ends_with_1() -> None:
    with serving({"ECHO_FAULT": "start"}, ready=False) as door:
        assert door.ended() == 1
        assert "error:" in door.log
        assert "Traceback" not in door.log


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PORT": "eighty"}, "PORT"),
        ({"ENGINE": "ehco"}, "did you mean echo?"),
        ({"ECHO_FAULT": "sometimes"}, "ECHO_FAULT"),
        ({"DRAIN_TIMEOUT": "-1"}, "DRAIN_TIMEOUT"),
        ({"REQUEST_TIMOUT": "5"}, "did you mean REQUEST_TIMEOUT?"),
    ],
)
def test_a_wrong_setting_is_named_and_ends_with_2(env: dict[str, str], message: str) -> None:
    with serving(env, ready=False) as door:
        assert door.ended() == 2
        assert message in door.log
        assert "Traceback" not in door.log


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving({"PORT": str(taken.getsockname()[1])}, False) as door:
        assert door.ended() == 2
        assert "PORT" in door.log
        assert "in use" in door.log


def test_options_win_over_the_environment() -> None:
    result = subprocess.run(
        [COMMAND, "serve", "--engine", "echo", "--port", "99999"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert "PORT (from command line)" in result.stderr


def test_a_request_may_take_only_so_long() -> None:
    with serving({"REQUEST_TIMEOUT": "0.5"}) as door:
        late = httpx.post(
            f"{door.url}/v1/chat/completions", json={"messages": HELLO, "echo_ttft_ms": 120_000}, timeout=60
        )
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        until(lambda: door.metric("engineroom_echo_running") == 0)


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/", "/v1/chat/completions"),
        ("POST", "//v1//chat/completions", "/v1/chat/completions"),
        ("POST", "/openai/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/chat/completion", "/v1/chat/completions"),
        ("POST", "/v1/embedding", "/v1/embeddings"),
        ("GET", "/v1//models", "/v1/models"),
        ("GET", "/models", "/v1/models"),
        ("GET", "/v1/models/", "/v1/models"),
        ("GET", "/models/echo", "/v1/models/echo"),
        ("POST", "/api/chat", "/v1/chat/completions"),
        ("POST", "/api/generate", "/v1/completions"),
        ("GET", "/api/tags", "/v1/models"),
        ("POST", "/V1/Chat/Completions", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/chat/completions", "/v1/chat/completions"),
        ("POST", "/openai/deployments/smol/chat/completions", "/v1/chat/completions"),
        ("POST", "/anthropic/v1/messages", "/v1/messages"),
        ("POST", "/anthropic/messages/count_tokens", "/v1/messages/count_tokens"),
        ("POST", "/api/v0/embeddings", "/v1/embeddings"),
        ("POST", "/v2/responses", "/v1/responses"),
        ("GET", "/api/v1/models/echo", "/v1/models/echo"),
        ("POST", "/api/chat/", "/v1/chat/completions"),
        ("POST", "/v1/api/chat", "/v1/chat/completions"),
        ("POST", "//api//embed", "/v1/embeddings"),
        ("POST", "/v2/chat", "/v1/chat/completions"),
        ("POST", "/v1beta/models/smol:generateContent", "/v1/chat/completions"),
        ("POST", "/v1beta/models/smol:countTokens", "/v1/messages/count_tokens"),
        ("GET", "/health/", "/health"),
        ("GET", "//metrics", "/metrics"),
        ("GET", "/v1/ping", "/ping"),
    ],
)
def test_a_slip_in_a_path_is_answered_with_the_path_that_was_meant(
    door: Door, method: str, path: str, meant: str
) -> None:
    answer = httpx.request(method, door.url + path, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert f"{meant}?" in answer.json()["error"]["message"] or f"here {meant} does" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/version"), ("POST", "/api/pull"), ("DELETE", "/api/delete")]
)
def test_what_no_worker_has_is_told_as_another_s(door: Door, method: str, path: str) -> None:
    answer = httpx.request(method, door.url + path, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert "of another API" in answer.json()["error"]["message"]
    assert "/v1/models" in answer.json()["error"]["message"]


def test_an_api_that_the_engine_has_not_is_told_with_where_it_is(door: Door) -> None:
    answer = httpx.post(f"{door.url}/v1/rerank", json={"query": "a", "documents": ["b"]})
    assert answer.status_code == 404
    assert "`engineroom engines` lists the engines that do" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/", "/%2e%2e/etc/passwd"])
def test_a_path_that_is_near_nothing_gets_no_hint(door: Door, path: str) -> None:
    answer = httpx.get(door.url + path)
    assert answer.status_code == 404
    assert "mean" not in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo", "/ping", "/health", "/metrics"])
def test_a_head_is_the_get_without_its_body(door: Door, path: str) -> None:
    head = httpx.head(door.url + path)
    whole = httpx.get(door.url + path)
    assert head.status_code == whole.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_a_head_of_what_only_takes_a_post_is_refused(door: Door) -> None:
    answer = httpx.head(f"{door.url}/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
