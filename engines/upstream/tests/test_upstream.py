"""The HTTP door over the upstream engine, over other doors: choice, failover and health, all real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import openai
import pytest
from http_door import Door, ask, free_port, serving
from server_process import until
from upstream_servers import HELLO, over


@pytest.fixture
def servers() -> Iterator[tuple[Door, Door]]:
    with ExitStack() as stack:
        yield stack.enter_context(serving()), stack.enter_context(serving({"SERVED_MODEL_NAME": "echo,second"}))


def test_whole_and_streamed_and_models(servers: tuple[Door, Door]) -> None:
    with ExitStack() as stack:
        door = stack.enter_context(serving(over(*(server.url for server in servers))))
        client = stack.enter_context(openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0))
        answer = client.chat.completions.create(model="echo", messages=HELLO)
        assert answer.choices[0].message.content == "Hello 🦙 there"
        stream = client.chat.completions.create(model="echo", messages=HELLO, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello 🦙 there"
        assert {model.id for model in client.models.list()} == {"echo", "second"}
        # Only one of them has it.
        for _ in range(3):
            assert client.chat.completions.create(model="second", messages=HELLO).model == "second"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="third", messages=HELLO)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="echo", messages=HELLO, max_tokens=-1)


def test_the_least_loaded_is_chosen(servers: tuple[Door, Door]) -> None:
    with serving(over(*(server.url for server in servers))) as door, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, door, echo_ttft_ms=6000) for _ in range(4)]
        until(lambda: [server.metric("engineroom_echo_running") for server in servers] == [2, 2])
        assert [answer.result().status_code for answer in answers] == [200] * 4


def test_a_server_that_is_gone_is_passed_over_and_comes_back() -> None:
    port = free_port()
    with serving() as stays, ExitStack() as stack:
        goes = stack.enter_context(serving({"PORT": str(port)}, ready=False))
        goes.url = f"http://127.0.0.1:{port}"
        goes.until(200)
        with serving(over(goes.url, stays.url, UPSTREAM_CHECK="0.2")) as door:
            goes.process.kill()
            goes.process.wait(10)
            assert [ask(door).status_code for _ in range(6)] == [200] * 6
            until(lambda: f'engineroom_upstream_usable{{server="127.0.0.1:{port}"}} 0' in door.metrics())
            back = stack.enter_context(serving({"PORT": str(port)}, ready=False))
            assert back
            until(lambda: f'engineroom_upstream_usable{{server="127.0.0.1:{port}"}} 1' in door.metrics())


def test_a_server_that_dies_amid_a_stream_is_told_and_all_gone_is_503() -> None:
    with serving() as server, serving(over(server.url, UPSTREAM_CHECK="0.2")) as door:
        body = {"messages": HELLO, "stream": True, "ignore_eos": True, "max_tokens": 1000, "echo_tokens_per_s": 20}
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            os.kill(server.process.pid, signal.SIGKILL)
            assert "upstream_unreachable" in "".join(lines)
        until(lambda: door.ping() == 204)
        refused = ask(door)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0


def test_a_client_that_leaves_frees_the_server(servers: tuple[Door, Door]) -> None:
    server = servers[0]
    with serving(over(server.url)) as door:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{door.url}/v1/chat/completions", json={"messages": HELLO, "echo_ttft_ms": 60_000}, timeout=0.5)
        until(lambda: server.metric("engineroom_echo_running") == 0)


def test_the_servers_key_is_ours_and_the_clients_is_not_passed_on() -> None:
    with serving({"API_KEYS": "sk-server"}) as server:
        settings = over(server.url, UPSTREAM_API_KEY="sk-server", API_KEYS="sk-client")
        with serving(settings) as door:
            asked = {"authorization": "Bearer sk-client"}
            answer = httpx.post(f"{door.url}/v1/chat/completions", json={"messages": HELLO}, headers=asked)
            assert answer.status_code == 200
            assert httpx.get(f"{door.url}/v1/models").status_code == 401
        with serving(over(server.url, START_TIMEOUT="4"), ready=False) as door:
            assert door.ended() == 1
            assert "401" in door.log


def test_without_checks_nobody_is_asked_before_the_first_request() -> None:
    with serving() as server:
        settings = over(server.url, UPSTREAM_CHECK="0", MODEL_NAME="echo")
        with serving(settings) as door:
            assert ask(door).status_code == 200
            until(lambda: server.metric("engineroom_requests_total") == 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "UPSTREAM_URLS"),
        ({"UPSTREAM_URLS": "gpu-1:8000"}, "UPSTREAM_URLS"),
        ({"UPSTREAM_URLS": "http://user:pass@gpu-1:8000"}, "UPSTREAM_API_KEY"),
        ({"UPSTREAM_URLS": "http://gpu-1:8000/v1", "UPSTREAM_CHECK": "0"}, "MODEL_NAME"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], said: str) -> None:
    with serving({"ENGINE": "upstream", **settings}, ready=False) as door:
        assert door.ended() == 2
        assert said in door.log
        assert "user:pass" not in door.log
