"""Kinds of servers, and how each may fail, behind the HTTP door over the upstream engine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from http_door import COMMAND, ask, free_port, serving
from server_process import until
from standin.engine import SERVER as STANDIN_SERVER
from standin_openai import StandinOpenAI
from upstream_servers import HELLO, over, unchecked


@contextmanager
def emulated_runpod() -> Iterator[str]:
    """The emulated platform with a real worker on it; its endpoint's URL for OpenAI's clients."""
    port = free_port()
    command = [COMMAND, "emulate", "--port", str(port), "--api-key", "rpa", "--", COMMAND, "runpod", "--engine", "echo"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/v2/emulated/openai/v1"
    finally:
        process.terminate()
        process.wait(60)


def test_a_runpod_endpoint() -> None:
    with emulated_runpod() as url, serving(unchecked(url, UPSTREAM_API_KEY="rpa")) as door:
        deadline = time.monotonic() + 60
        while (answer := ask(door, messages=HELLO)).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.2)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello 🦙 there"
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0)
        stream = client.chat.completions.create(model="echo", messages=HELLO, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello 🦙 there"
        # The platform says 200 to errors as well.
        for stream_too in (False, True):
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(model="echo", messages=HELLO, temperature=9, stream=stream_too)
            assert refused.value.param == "temperature"
        with serving(over(url, UPSTREAM_API_KEY="rpa")) as checked:
            assert httpx.get(f"{checked.url}/v1/models").json()["data"][0]["id"] == "echo"


@pytest.mark.parametrize(
    ("base", "model"), [("/v1", "llama3.2:latest"), ("/v1beta/openai/", "models/gemini"), ("", "org/model")]
)
def test_any_base_url(base: str, model: str) -> None:
    root = base.rstrip("/") or "/v1"
    with StandinOpenAI(root, model) as server, serving(over(server.url + base)) as door:
        assert [m["id"] for m in httpx.get(f"{door.url}/v1/models").json()["data"]] == [model]
        assert ask(door, model=model).json()["choices"][0]["message"]["content"] == f"POST {root}/chat/completions"
        answer = httpx.post(f"{door.url}/v1/rerank", json={"model": model, "query": "q", "documents": []})
        assert answer.json()["choices"][0]["message"]["content"] == f"POST {root}/rerank"


def test_another_name_for_a_servers_model() -> None:
    with StandinOpenAI("/v1", "org/model") as server:
        settings = over(server.url, MODEL_NAME="org/model", SERVED_MODEL_NAME="small,gpt-4o-mini")
        with serving(settings) as door:
            assert [ask(door, model=name).json()["model"] for name in ("small", "gpt-4o-mini")] == ["org/model"] * 2
            assert ask(door).json()["model"] == "org/model"


def test_each_server_has_its_own_key() -> None:
    with serving({"API_KEYS": "sk-1"}) as one, serving({"API_KEYS": "sk-2"}) as two:
        with serving(over(one.url, two.url, UPSTREAM_API_KEY="sk-1,sk-2", START_TIMEOUT="20")) as door:
            usable = [line for line in door.metrics().splitlines() if line.startswith("engineroom_upstream_usable{")]
            assert [line.split()[-1] for line in usable] == ["1", "1"]
        with serving(over(one.url, two.url, UPSTREAM_API_KEY="a,b,c"), ready=False) as door:
            assert door.ended() == 2
            assert "UPSTREAM_API_KEY" in door.log


def test_a_server_that_refuses_our_key_is_not_the_clients_fault() -> None:
    with serving({"API_KEYS": "sk-1"}) as server, serving() as other:
        with serving(unchecked(server.url, UPSTREAM_API_KEY="sk-wrong")) as door:
            answer = ask(door)
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_refused")
            door.says("UPSTREAM_API_KEY")
            assert "sk-wrong" not in door.log
        with serving(unchecked(server.url, other.url, UPSTREAM_API_KEY="sk-wrong")) as door:
            assert ask(door).status_code == 200


def test_a_busy_server_is_followed_by_another_and_all_busy_is_told() -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(serving({"REQUESTS_PER_MINUTE": limit})).url for limit in ("1", "2")]
        door = stack.enter_context(serving(over(*urls)))
        answers = [ask(door) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) > 0


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def early_headers() -> Iterator[str]:
    """A stand-in server that sends a stream's headers at once, as vLLM does."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(STANDIN_SERVER), "--port", str(port)])
    try:
        until(lambda: answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("fault", ["die", "cut"])
def test_until_the_first_token_another_server_is_asked(fault: str) -> None:
    with early_headers() as first, serving() as second, serving(unchecked(first, second.url)) as door:
        notes = {"fault": f'"{fault}"', "fault_after": "0", "gap": "0.3"}
        answer = ask(door, stream=True, metadata=notes)
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")
        assert "error" not in answer.text
        until(lambda: second.metric("engineroom_requests_total") == 1)


def test_a_server_that_fails_again_and_again_has_a_rest() -> None:
    port = free_port()
    with serving() as stays, serving(unchecked(f"http://127.0.0.1:{port}", stays.url)) as door:
        usable = f'engineroom_upstream_usable{{server="127.0.0.1:{port}"}}'
        assert [ask(door).status_code for _ in range(4)] == [200] * 4
        assert f"{usable} 0" in door.metrics()
        until(lambda: door.log.count(f"127.0.0.1:{port}:") >= 3)
        assert door.log.count(f"127.0.0.1:{port}:") == 3  # Not asked the fourth time.
        with serving({"PORT": str(port)}) as back:
            until(lambda: f"{usable} 0" not in door.metrics())
            # A client's mistake shows as well that the server is there.
            assert ask(door, temperature=9).status_code == 400
            assert [ask(door).status_code for _ in range(2)] == [200] * 2
            until(lambda: back.metric("engineroom_requests_total") == 3)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux' table of connections")
@pytest.mark.parametrize("fault", ["die", "error"])
def test_a_server_s_heartbeats_are_no_beginning(fault: str) -> None:
    """A server that fails after heartbeats is followed by another, and heartbeats of our own go out meanwhile."""
    faulty = {"ECHO_FAULT": fault, "ECHO_TTFT_MS": "500", "STREAM_HEARTBEAT": "0.05"}
    with ExitStack() as stack:
        first, second = (stack.enter_context(serving(settings)) for settings in (faulty, {}))
        urls = [f"{server.url}/v1" for server in (first, second)]
        door = stack.enter_context(serving(unchecked(*urls, STREAM_HEARTBEAT="0.2")))
        streamed = ask(door, messages=HELLO, stream=True)
        assert streamed.text.startswith(": heartbeat")
        assert "error" not in streamed.text
        assert streamed.text.endswith("data: [DONE]\n\n")


def test_the_kernel_watches_over_a_silent_server() -> None:
    """A machine that vanishes from the network says nothing: probes find out (the table's timer 2)."""
    # Unchecked: a check that is just under way has the other timer, which waits for what was sent to be acknowledged.
    with serving() as server, serving(unchecked(server.url)) as door:
        body: dict[str, Any] = {"messages": HELLO, "stream": True, "echo_tokens_per_s": 1}
        with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body, timeout=30) as answer:
            parts = answer.iter_bytes()
            next(parts)
            port = f":{int(server.url.rpartition(':')[2]):04X}"
            table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = [row for row in table if row[2].endswith(port) and row[3] == "01"]
        assert ours
        assert all(row[5].startswith("02:") for row in ours)
