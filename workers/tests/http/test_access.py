"""Keys, CORS, browsers' headers and TLS, from outside."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import openai
import pytest
from http_door import serving
from server_process import until

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"messages": HELLO}


def chat(url: str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/chat/completions", json=CHAT, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_keys_are_asked_for_and_health_is_not() -> None:
    with serving({"API_KEYS": "alice:sk-alice, sk-nobody"}) as door:
        assert httpx.get(f"{door.url}/ping").status_code == 200
        assert httpx.get(f"{door.url}/health").status_code == 200
        for path in ("/metrics", "/v1/models"):
            assert httpx.get(f"{door.url}{path}").status_code == 401
        absent = chat(door.url)
        assert absent.status_code == 401
        assert absent.headers["www-authenticate"] == "Bearer"
        for wrong in ("sk-alicE", "sk-alice2", "sk", "a b"):
            assert chat(door.url, authorization=f"Bearer {wrong}").status_code == 401
        with openai.OpenAI(base_url=f"{door.url}/v1", api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                client.models.list()
            assert refused.value.code == "invalid_api_key"
            assert client.with_options(api_key="sk-alice").models.list().data
        assert chat(door.url, authorization="bearer  sk-nobody").status_code == 200
        assert chat(door.url, x_api_key="sk-alice").status_code == 200
        assert httpx.get(f"{door.url}/metrics", headers={"authorization": "Bearer sk-alice"}).status_code == 200
        assert "sk-" not in door.log


def test_metrics_may_be_open() -> None:
    with serving({"API_KEYS": "sk-alice", "METRICS_OPEN": "true"}) as door:
        assert httpx.get(f"{door.url}/metrics").status_code == 200
        assert chat(door.url).status_code == 401


def test_the_keys_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: sk-alice\n")
    with serving({"API_KEYS_FILE": str(file)}) as door:
        assert chat(door.url, authorization="Bearer sk-alice").status_code == 200
        other = tmp_path / "other"
        other.write_text(json.dumps({"bob": {"key": "sk-bob", "priority": 3}}))
        other.rename(file)
        until(lambda: chat(door.url, authorization="Bearer sk-bob").status_code == 200)
        assert chat(door.url, authorization="Bearer sk-alice").status_code == 401
        file.write_text("bob: [sk-bob")
        until(lambda: chat(door.url, authorization="Bearer sk-bob").status_code == 200 and "not valid YAML" in door.log)
        assert "sk-bob" not in door.log


def test_white_space_around_a_key_is_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: |\n  sk-alice\n")
    with serving({"API_KEYS_FILE": str(file), "API_KEYS": "bob: sk-bob"}) as door:
        for key in ("sk-alice", "sk-bob"):
            assert chat(door.url, authorization=f"Bearer {key}").status_code == 200


def test_whatever_becomes_of_the_keys_file_clients_are_served(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: sk-alice\n")
    with serving({"API_KEYS_FILE": str(file)}) as door:
        for complaint, text in enumerate(("alice: 2026-13-45", "a: " + "[" * 5000, "\0", "a: &x [*x]"), 1):
            (tmp_path / "other").write_text(text)  # Not in its place: it would be seen empty, too.
            (tmp_path / "other").rename(file)

            def complained(times: int = complaint) -> bool:
                assert chat(door.url, authorization="Bearer sk-alice").status_code == 200
                return door.log.count("the keys stay as they were") == times

            until(complained)
        assert "Traceback" not in door.log


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alice: {key: sk-a, speed: 3}", "alice.speed"),
        ("alice: {concurrency: 3}", "alice has no key"),
        ("[sk-a]", "must hold a mapping"),
        ("{a: sk-same, b: sk-same}", "same key"),
        ("alice: sk-a\nalice: sk-b", "alice is there twice"),
        ("alice: 2026-13-45", "not valid YAML"),
        ("? [alice]\n: sk-a", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("{}", "there is no key in it"),
    ],
)
def test_a_wrong_keys_file_is_named_and_no_key_is_quoted(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with serving({"API_KEYS_FILE": str(file)}, ready=False) as door:
        assert door.ended() == 2
        assert "API_KEYS_FILE" in door.log
        assert said in door.log
        assert "sk-" not in door.log


def test_cors_for_the_origins_named() -> None:
    with serving({"CORS_ORIGINS": "https://app.example", "API_KEYS": "sk-a"}) as door:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        asked["access-control-request-headers"] = "authorization,content-type"
        preflight = httpx.options(f"{door.url}/v1/chat/completions", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        answer = chat(door.url, origin="https://app.example", authorization="Bearer sk-a")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        refused = chat(door.url, origin="https://app.example")
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-origin" not in chat(door.url, origin="https://evil.example").headers


def test_security_headers_only_where_asked_for() -> None:
    with serving({"SECURITY_HEADERS": "1"}) as door:
        headers = chat(door.url).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers
    with serving() as door:
        assert "x-content-type-options" not in chat(door.url).headers


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("there is no openssl command to make a certificate with")
    settings = {"UVICORN_SSL_CERTFILE": str(certificate), "UVICORN_SSL_KEYFILE": str(key), "SECURITY_HEADERS": "1"}
    with serving(settings, ready=False) as door:
        url = door.url.replace("http", "https")
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=context) as client:

            def ready() -> bool:
                try:
                    return client.get(f"{url}/ping").status_code == 200
                except httpx.TransportError:
                    return False

            until(ready)
            answer = client.post(f"{url}/v1/chat/completions", json=CHAT)
            assert answer.status_code == 200
            assert "strict-transport-security" in answer.headers


def test_a_body_that_does_not_come_is_408() -> None:
    with serving({"BODY_TIMEOUT": "0.5"}) as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as stalled:
            stalled.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            assert stalled.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"POST /v1/chat/comp", b"HTTP/1.1 408"),
        (b"GET /ping HTTP/1.1\r\nhost: x\r\nx-slow: ", b"HTTP/1.1 408"),
        (b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\nGET /ping HTTP/1.1\r\nhost", b"HTTP/1.1 200"),
    ],
    ids=["nothing", "half a line", "half a header", "one and a half"],
)
def test_a_head_that_does_not_come_holds_nothing(sent: bytes, said: bytes) -> None:
    with serving({"BODY_TIMEOUT": "0.5"}) as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as half_open:
            half_open.sendall(sent)
            answer = b""
            while part := half_open.recv(4096):
                answer += part
        assert answer.startswith(said)
        if sent.count(b"GET") == 2:
            assert b"HTTP/1.1 408" in answer
        if b"408" in answer:
            assert b'"code":"request_timeout"' in answer


def test_one_byte_at_a_time_is_no_way_around() -> None:
    with serving({"BODY_TIMEOUT": "1"}) as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=0.1) as slow:
            slow.sendall(b"GET /ping HTTP/1.1\r\nx-slow: ")
            answer = b""

            def refused() -> bool:
                nonlocal answer
                slow.sendall(b"a")
                try:
                    answer = slow.recv(4096)
                except TimeoutError:
                    return False
                return True

            until(refused)
        assert answer.startswith(b"HTTP/1.1 408")


def test_headers_without_end_are_431() -> None:
    with serving() as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as endless:
            endless.sendall(b"GET /ping HTTP/1.1\r\n")
            for number in range(400):
                try:
                    endless.sendall(b"x-%d: " % number + b"a" * 1000 + b"\r\n")
                except OSError:
                    break
            try:
                answer = endless.recv(4096)
            except ConnectionResetError:
                answer = b""  # Closed with our bytes unread; its answer may be lost with them.
            assert answer.startswith(b"HTTP/1.1 431") or not answer
        assert door.ping() == 200


def test_a_request_may_take_only_so_long() -> None:
    with serving({"REQUEST_TIMEOUT": "0.5"}) as door:
        late = httpx.post(f"{door.url}/v1/chat/completions", json={**CHAT, "echo_ttft_ms": 120_000}, timeout=60)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        until(lambda: door.metric("engineroom_echo_running") == 0)


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    with serving({"CLIENT_TIMEOUT": "2"}) as door:
        host, port = door.url.removeprefix("http://").split(":")
        body = json.dumps({**CHAT, "stream": True, "max_tokens": 100_000, "ignore_eos": True}).encode()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect((host, int(port)))
            slow.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            until(lambda: door.metric("engineroom_echo_tokens_total") > 0)
            until(lambda: door.metric("engineroom_echo_running") == 0)
            assert door.metric("engineroom_echo_tokens_total") < 100_000
