"""nginx as docker-compose.yml sets it up, in front of a real door: the program is real, its container is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from http_door import Door, serving
from nginx_server import FILES, Nginx, prepare, settings
from server_process import until

from engineroom_workers.http.settings import HTTPSettings

HELLO: list[Any] = [{"role": "user", "content": "Hello there, how are you today?"}]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    limit = {"MAX_REQUEST_MB": "0.1", "SECURITY_HEADERS": "1"}
    with serving({**limit, "API_KEYS": "alice:sk-alice"}) as running:
        yield running


@pytest.fixture(scope="module")
def front(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), port_of(door), MAX_REQUEST_MB="0.1")
    try:
        yield nginx
    finally:
        nginx.stop()


@pytest.fixture
def client(front: Nginx) -> Iterator[httpx.Client]:
    with front.client() as client:
        client.headers["authorization"] = "Bearer sk-alice"
        yield client


def port_of(door: Door) -> int:
    return int(door.url.rpartition(":")[2])


def running(door: Door) -> float:
    """How many requests the engine has."""
    text = httpx.get(f"{door.url}/metrics", headers={"authorization": "Bearer sk-alice"}).text
    sample = re.search(r"^engineroom_echo_running (\S+)$", text, re.M)
    assert sample
    return float(sample[1])


def test_openais_client_speaks_tls_to_it(front: Nginx) -> None:
    with openai.OpenAI(
        base_url=f"{front.url}/v1", api_key="sk-alice", http_client=httpx.Client(verify=front.trust), max_retries=0
    ) as client:
        whole = client.chat.completions.create(model="echo", messages=HELLO)
        chunks = list(client.chat.completions.create(model="echo", messages=HELLO, stream=True))
        assert whole.choices[0].message.content == HELLO[0]["content"]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == HELLO[0]["content"]
        with pytest.raises(openai.AuthenticationError) as refused:
            client.with_options(api_key="wrong").models.list()
        assert refused.value.code == "invalid_api_key"


def test_events_come_before_the_next_ones_are_made(client: httpx.Client, door: Door) -> None:
    """The engine makes three tokens and then no more: whoever waited for a buffer to fill would have none of them."""
    body = {"messages": HELLO, "stream": True, "echo_fault": "hang", "echo_fault_after": 3}
    with client.stream("POST", CHAT, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        # For what may stand in front of nginx in its turn.
        assert answer.headers["x-accel-buffering"] == "no"
        tokens = (line for line in answer.iter_lines() if re.search(r'"content":\s*"[^"]', line))
        assert len(list(islice(tokens, 3))) == 3
        assert running(door) == 1
    until(lambda: running(door) == 0)


def test_a_long_silence_outlives_its_patience(tmp_path: Path) -> None:
    """nginx ends what says nothing for its `proxy_read_timeout`; a stream says that it is still there."""
    with serving({"STREAM_HEARTBEAT": "0.3"}) as door:
        # The template adds a minute: this is a patience of one second.
        nginx = Nginx(tmp_path, port_of(door), REQUEST_TIMEOUT="-59")
        try:
            body = {"messages": HELLO, "echo_ttft_ms": 3000}
            with nginx.client() as client:
                assert client.post(CHAT, json=body).status_code == 504
                streamed = client.post(CHAT, json={**body, "stream": True})
            assert streamed.status_code == 200
            assert streamed.text.startswith(": heartbeat")
            assert streamed.text.endswith("data: [DONE]\n\n")
        finally:
            nginx.stop()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_generation(front: Nginx, door: Door, stream: bool) -> None:
    body = {"messages": HELLO, "stream": stream, "echo_ttft_ms": 600_000}
    with front.client(timeout=60) as client:
        request = client.build_request("POST", CHAT, json=body, headers={"authorization": "Bearer sk-alice"})
        request.extensions["timeout"] = {"connect": 10, "write": 10, "read": 0.5, "pool": 10}
        with pytest.raises(httpx.ReadTimeout):
            client.send(request)
    until(lambda: running(door) == 0)
    until(lambda: " 499 " in front.log)


@pytest.mark.parametrize("route", [CHAT, MESSAGES])
def test_a_body_that_is_too_large_is_refused_in_the_doors_words(client: httpx.Client, door: Door, route: str) -> None:
    body = b'{"messages": "' + b"x" * 100_000 + b'"}'
    headers = {"content-type": "application/json", "authorization": "Bearer sk-alice"}
    behind = httpx.post(f"{door.url}{route}", content=body, headers=headers)
    before = client.post(route, content=body, headers=headers)
    # The door's also has the request's id in its body, in Anthropic's form; nginx makes no id that it could put there.
    in_the_doors_words = {name: value for name, value in behind.json().items() if name != "request_id"}
    assert (before.status_code, before.json()) == (413, in_the_doors_words)
    assert before.headers["content-type"] == "application/json"
    assert before.headers["x-request-id"].startswith("req_")
    # One that does not say its size beforehand.
    chunked = client.post(route, content=iter([body[:60_000], body[60_000:]]), headers=headers)
    assert (chunked.status_code, chunked.json()) == (413, in_the_doors_words)
    fits = b'{"messages": "' + b"x" * 99_900 + b'"}'
    assert client.post(route, content=fits, headers=headers).status_code in (400, 404)


def test_what_is_no_http_is_refused_as_json(front: Nginx, client: httpx.Client) -> None:
    refused = client.post(CHAT, json={}, headers={"x-long": "x" * 40_000})
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_a_worker_that_is_away_is_an_openai_error_until_it_is_back(tmp_path: Path) -> None:
    with serving() as door:
        port = port_of(door)
        front = Nginx(tmp_path, port)
        door.process.terminate()
        door.ended()
    try:
        with openai.OpenAI(
            base_url=f"{front.url}/v1", api_key="none", http_client=httpx.Client(verify=front.trust), max_retries=0
        ) as client:
            with pytest.raises(openai.InternalServerError) as refused:
                client.chat.completions.create(model="echo", messages=HELLO, extra_headers={"x-request-id": "mine"})
            assert (refused.value.status_code, refused.value.code) == (502, "worker_unreachable")
            assert refused.value.request_id == "mine"
            assert refused.value.response.headers["retry-after"] == "5"
            with front.client() as plain:
                assert plain.post(MESSAGES, json={}).json()["error"]["type"] == "api_error"
            with serving({"PORT": str(port)}):
                until(lambda: httpx.get(f"{front.url}/ping", verify=front.trust).status_code == 200)
                assert client.chat.completions.create(model="echo", messages=HELLO).choices
    finally:
        front.stop()


def test_the_worker_s_own_refusals_pass_unchanged(client: httpx.Client) -> None:
    refused = client.post(CHAT, json={"messages": HELLO, "model": "nope"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_request_ids_go_through(client: httpx.Client, front: Nginx) -> None:
    mine = client.post(CHAT, json={"messages": HELLO}, headers={"x-request-id": "mine-7"})
    assert mine.headers.get_list("x-request-id") == ["mine-7"]
    made = client.post(CHAT, json={"messages": HELLO}).headers.get_list("x-request-id")
    assert len(made) == 1
    assert re.fullmatch(r"req_[0-9a-f]{32}", made[0])
    until(lambda: front.log.splitlines()[-1].endswith(made[0]))
    assert "mine-7" in front.log
    unusable = client.post(CHAT, json={"messages": HELLO}, headers={"x-request-id": "x" * 500})
    assert re.fullmatch(r"req_[0-9a-f]{32}", unusable.headers["x-request-id"])


def test_plain_http_is_sent_to_tls(front: Nginx) -> None:
    for port in (front.plain, front.port):
        sent = httpx.post(f"http://127.0.0.1:{port}{CHAT}?a=b", json={})
        assert (sent.status_code, sent.headers["location"]) == (308, f"{front.url}{CHAT}?a=b")
    assert httpx.get(f"http://127.0.0.1:{front.plain}/nginx-health").status_code == 204


def test_the_worker_knows_how_the_client_came(client: httpx.Client, door: Door) -> None:
    """SECURITY_HEADERS promise TLS only where there is TLS."""
    spoofed = {"x-forwarded-proto": "http"}
    assert "strict-transport-security" in client.get("/health", headers=spoofed).headers
    assert "strict-transport-security" not in httpx.get(f"{door.url}/health").headers


def test_connections_to_the_worker_are_kept(client: httpx.Client, door: Door) -> None:
    def connections() -> set[tuple[Any, ...]]:
        all_of = psutil.Process(door.process.pid).net_connections("tcp")
        return {c.raddr for c in all_of if c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port_of(door)}

    client.get("/ping")
    before = connections()
    for _ in range(10):
        assert client.post(CHAT, json={"messages": HELLO}).status_code == 200
    assert before
    assert connections() <= before


def test_nginx_gives_up_idle_connections_before_the_worker_does() -> None:
    template = (FILES / "engineroom.conf.template").read_text()
    upstream = template.partition("upstream worker {")[2].partition("\n}")[0]
    timeout = re.search(r"keepalive_timeout (\d+)s;", upstream)
    assert timeout
    assert int(timeout[1]) < HTTPSettings().uvicorn_timeout_keep_alive


def test_every_variable_of_the_template_is_put_in() -> None:
    template = (FILES / "engineroom.conf.template").read_text()
    pattern = re.compile(settings()["NGINX_ENVSUBST_FILTER"].replace("$$", "$"))
    used = set(re.findall(r"\$\{(\w+)\}", template))
    assert all(pattern.search(name) for name in used)
    assert used <= {*settings(), "MAX_BODY", "READ_TIMEOUT", "RESOLVER"}
    # And none of nginx's own is taken for one of them.
    assert not {name for name in re.findall(r"\$(\w+)", template) if pattern.search(name)}


def test_only_the_containers_own_name_server_is_asked(tmp_path: Path) -> None:
    """Podman lists the host's after it, which knows no worker, and nginx would ask both by turns."""
    done = prepare(tmp_path, settings(CERTIFICATES=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "resolver 127.0.0.11 valid=5s;" in (tmp_path / "conf.d/default.conf").read_text()
