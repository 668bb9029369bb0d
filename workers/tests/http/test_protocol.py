"""HTTP itself, as clients of other kinds speak it: on sockets of our own."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from http_door import Door, serving
from server_process import until

CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving(
        {"API_KEYS": "sk-a", "METRICS_OPEN": "1", "BODY_TIMEOUT": "3", "UVICORN_TIMEOUT_KEEP_ALIVE": "4"}
    ) as door:
        yield door
        assert "Traceback" not in door.log


def connect(door: Door) -> socket.socket:
    host, port = door.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def post(head: str = "", version: str = "1.1", key: str = "sk-a", **fields: object) -> bytes:
    body = json.dumps({**CHAT, **fields}).encode()
    line = f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {key}\r\n{head}"
    return f"{line}content-length: {len(body)}\r\n\r\n".encode() + body


def to_the_end(client: socket.socket) -> bytes:
    answer = b""
    while part := client.recv(65536):
        answer += part
    return answer


def one_answer(client: socket.socket) -> tuple[bytes, bytes]:
    """An answer's head and its body, which has a length."""
    with client.makefile("rb") as reader:
        lines = list(iter(reader.readline, b"\r\n"))
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        return b"".join(lines), reader.read(length)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_of_http_1_0_gets_no_chunks(door: Door, stream: bool) -> None:
    with connect(door) as client:
        client.sendall(post(version="1.0", stream=stream))
        head, _, body = to_the_end(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in head.lower()
    if stream:
        assert body.startswith(b"data: {")
        assert body.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(body)["choices"]


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_an_offer_of_another_protocol_is_left_aside(door: Door, protocol: str) -> None:
    """Java's HTTP client makes it with the first request on a connection, and goes on without where it is ignored."""
    offer = f"connection: Upgrade, HTTP2-Settings\r\nupgrade: {protocol}\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    asked = post(offer)
    for cut in (len(asked), len(asked) - 3, asked.index(b"{"), 40):
        with connect(door) as client:
            client.sendall(asked[:cut])
            time.sleep(0.1)
            client.sendall(asked[cut:])
            head, body = one_answer(client)
            assert head.startswith(b"HTTP/1.1 200"), body
            assert json.loads(body)["choices"]
            client.sendall(post())
            assert one_answer(client)[0].startswith(b"HTTP/1.1 200")


def test_many_offers_at_once(door: Door) -> None:
    offer = b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    with connect(door) as client:
        client.sendall(offer * 500 + b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert to_the_end(client).count(b"HTTP/1.1 200") == 501


@pytest.mark.parametrize("rest", [b"", b"x"], ids=["stalled", "one byte more"])
def test_one_that_was_refused_does_not_keep_its_connection(door: Door, rest: bytes) -> None:
    with connect(door) as client:
        client.sendall(post(key="wrong")[:-10])
        head, _ = one_answer(client)
        assert head.startswith(b"HTTP/1.1 401")
        client.sendall(rest)
        assert client.recv(1) == b""


def test_an_idle_connection_is_kept_for_the_next_request() -> None:
    """Longer than load balancers keep theirs, or a request of theirs meets one that is just being closed."""
    with serving({"API_KEYS": "sk-a", "BODY_TIMEOUT": "3"}) as patient, connect(patient) as client:
        client.sendall(post())
        assert one_answer(client)[0].startswith(b"HTTP/1.1 200")
        time.sleep(6)  # Longer than uvicorn's own five seconds.
        client.sendall(post())
        assert one_answer(client)[0].startswith(b"HTTP/1.1 200")


def test_one_that_was_refused_may_ask_again_after_its_body(door: Door) -> None:
    asked = post(key="wrong", user="x" * 300_000)
    with connect(door) as client:
        client.sendall(asked[:200])
        assert one_answer(client)[0].startswith(b"HTTP/1.1 401")
        client.sendall(asked[200:] + post())
        assert one_answer(client)[0].startswith(b"HTTP/1.1 200")
        assert client.recv(1) == b""  # Idle then, and closed as any other.


@pytest.mark.parametrize(
    ("version", "hosts", "expected"),
    [
        ("1.1", [], 400),
        ("1.1", ["a", "b"], 400),
        ("1.1", ["a", "a"], 400),
        ("1.0", ["a", "b"], 400),
        ("1.1", ["a b"], 400),
        ("1.1", ["a/b"], 400),
        ("1.1", ["user@a"], 400),
        ("1.0", [], 200),
        ("1.1", [""], 200),
        ("1.1", ["[::1]:8000"], 200),
        ("1.1", ["example.org:8000"], 200),
    ],
)
def test_a_request_has_one_host(door: Door, version: str, hosts: list[str], expected: int) -> None:
    """RFC 9112, 3.2. What follows a refused one on its connection is not answered."""
    lines = "".join(f"host: {host}\r\n" for host in hosts)
    with connect(door) as client:
        client.sendall(f"GET /ping HTTP/{version}\r\n{lines}\r\n".encode() * 2)
        answer = to_the_end(client) if expected == 400 else client.recv(4096)
    assert answer.startswith(f"HTTP/1.1 {expected} ".encode())
    if expected == 400:
        assert answer.count(b"HTTP/1.1") == 1
        assert b'"code":"invalid_http"' in answer


@pytest.mark.parametrize(("count", "expected"), [(255, 200), (256, 431), (50_000, 431)])
def test_a_head_has_so_many_headers(door: Door, count: int, expected: int) -> None:
    with connect(door) as client:
        client.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * count + b"\r\n")
        assert client.recv(4096).startswith(f"HTTP/1.1 {expected} ".encode())


def test_what_is_not_http_behind_a_request_leaves_its_answer_whole(door: Door) -> None:
    with connect(door) as client:
        client.sendall(post(echo_ttft_ms=100))
        client.sendall(b"\0\0\0")
        assert b"HTTP/1.1 400" not in to_the_end(client)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_sent_several_requests_and_leaves_frees_the_one_that_runs(door: Door, stream: bool) -> None:
    asked = post(stream=stream, ignore_eos=True, max_tokens=100_000, echo_tokens_per_s=5)
    with connect(door) as client:
        client.sendall(asked * 3)
        until(lambda: door.metric("engineroom_echo_running") == 1)
    until(lambda: door.metric("engineroom_echo_running") == 0)


def test_several_requests_at_once_are_answered_in_their_order(door: Door) -> None:
    with connect(door) as client:
        for number in range(20):
            client.sendall(post(f"x-request-id: {number}\r\n", echo_ttft_ms=20))
        client.sendall(post("connection: close\r\n"))
        ids = re.findall(rb"x-request-id: (\d+)\r", to_the_end(client))
    assert ids == [str(number).encode() for number in range(20)]


def test_a_compressed_body_is_said_to_be_the_mistake(door: Door) -> None:
    headers = {"authorization": "Bearer sk-a", "content-encoding": "gzip"}
    body = gzip.compress(json.dumps(CHAT).encode())
    refused = httpx.post(f"{door.url}/v1/chat/completions", content=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "unsupported_content_encoding")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", b""),
        (b"POST /v1/chat/comp", b"HTTP/1.1 408"),
        (b"GET /ping HTTP/1.1\r\nhost: x\r\nx-slow: ", b"HTTP/1.1 408"),
        (b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\nGET /ping HTTP/1.1\r\nhost", b"HTTP/1.1 200"),
    ],
    ids=["nothing", "half a line", "half a header", "one and a half"],
)
def test_a_head_that_does_not_come_holds_nothing(sent: bytes, expected: bytes) -> None:
    with serving({"BODY_TIMEOUT": "0.5"}) as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as half_open:
            half_open.sendall(sent)
            answer = b""
            while part := half_open.recv(4096):
                answer += part
        assert answer.startswith(expected)
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
