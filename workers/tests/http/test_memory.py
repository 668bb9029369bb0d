"""What clients can make the door hold: its resident memory under each attack, from outside.

The door runs without Python's collector of cycles. What it frees it has to free by itself: an exception that lives on,
and has a body in its traceback, shows here as memory that never comes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from http_door import Door, ask, serving
from server_process import until

PEAK_MB = 300
KEY = {"authorization": "Bearer sk-a"}
MEGABYTE = 1_000_000


@contextlib.contextmanager
def without_collector(folder: Path, env: Mapping[str, str]) -> Iterator[Door]:
    """A door with default limits and the key `sk-a`, whose Python never collects cycles."""
    (folder / "sitecustomize.py").write_text("import gc\n\ngc.disable()\n")
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    with serving({"API_KEYS": "sk-a", "METRICS_OPEN": "1", "PYTHONPATH": paths, **env}) as door:
        yield door
        assert "Traceback" not in door.log


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with without_collector(tmp_path_factory.mktemp("site"), {"MAX_CONCURRENT_REQUESTS": "1"}) as door:
        yield door


@pytest.fixture(autouse=True)
def bounded(door: Door) -> Iterator[None]:
    """During each attack the door stays small, and serves others; afterwards it holds nothing."""
    with watched(door):
        yield
    until(lambda: door.metric("engineroom_request_memory_bytes") < MEGABYTE)


@contextlib.contextmanager
def watched(door: Door) -> Iterator[None]:
    process = psutil.Process(door.process.pid)
    over = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not over.wait(0.005):
            seen.append(process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
        served = httpx.post(f"{door.url}/v1/chat/completions", json=CHAT, headers=KEY, timeout=60)
        assert served.status_code == 200, served.text
    finally:
        over.set()
        looking.join()
    assert max(seen) < PEAK_MB * MEGABYTE


CHAT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}


def body_of(size: int, **fields: object) -> bytes:
    """A good request of a few more than so many bytes, whose prompt is short."""
    return json.dumps({**CHAT, **fields, "user": "a" * size}).encode()


def head(key: str = "", more: str = "") -> bytes:
    """A request's line and headers, without the empty line at their end."""
    secret = f"authorization: Bearer {key}\r\n" if key else ""
    return f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{secret}{more}".encode()


def post(body: bytes) -> bytes:
    """A whole request."""
    return head("sk-a", f"content-length: {len(body)}\r\n\r\n") + body


def connect(door: Door) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(door.url.rpartition(":")[2])), timeout=60)


def send(client: socket.socket, data: bytes, times: int = 1) -> bool:
    """Whether the door took all of it; it may close the connection."""
    try:
        for _ in range(times):
            client.sendall(data)
    except OSError:
        return False
    return True


def status(client: socket.socket) -> int:
    """The status of the answer; 0 where the connection was closed without one, or reset with it."""
    try:
        answer = client.recv(4096)
    except ConnectionResetError:
        return 0
    return int(answer[9:12]) if answer else 0


@contextlib.contextmanager
def uploads(door: Door, requests: list[bytes]) -> Iterator[list[socket.socket]]:
    """Clients that send these at the same time, and stay."""
    clients = [connect(door) for _ in requests]
    threads = [threading.Thread(target=send, args=pair) for pair in zip(clients, requests, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("key", ["", "sk-a"], ids=["no key", "a key"])
@pytest.mark.parametrize("block", [b"x-a: b\r\n" * 10_000, b"a" * 65536], ids=["many trailers", "one trailer"])
def test_trailers_without_end(door: Door, key: str, block: bytes) -> None:
    with connect(door) as client:
        client.sendall(head(key, "transfer-encoding: chunked\r\n\r\n") + b"2\r\n{}\r\n0\r\nx-first: ")
        assert not send(client, block, 200)
        assert status(client) in (401, 431, 0)


def test_trailers_are_no_headers(door: Door) -> None:
    """Whoever decides by a request's headers, like its key, decides by those before its body."""
    body = json.dumps(CHAT).encode()
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    with connect(door) as client:
        client.sendall(head("sk-a", "transfer-encoding: chunked\r\n\r\n") + chunk + b"x-request-id: trailing\r\n\r\n")
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"trailing" not in answer


def test_a_chunk_extension_without_end(door: Door) -> None:
    with connect(door) as client:
        client.sendall(head("sk-a", "transfer-encoding: chunked\r\n\r\n") + b"2;x=")
        assert not send(client, b"a" * 65536, 200)


def test_many_open_uploads(door: Door) -> None:
    asked = post(body_of(12 * MEGABYTE))[:-1]
    with uploads(door, [asked] * 40) as clients:
        statuses = []
        for client in clients:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                statuses.append(status(client))
        assert statuses.count(503) > 20
        assert set(statuses) == {503}


def test_the_refusal_is_one_to_try_again_after(door: Door) -> None:
    asked = post(body_of(30 * MEGABYTE))[:-1]
    with uploads(door, [asked] * 2):
        refused = httpx.post(f"{door.url}/v1/chat/completions", content=body_of(30 * MEGABYTE), headers=KEY, timeout=60)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_busy")
        assert int(refused.headers["retry-after"]) > 0
        assert "REQUEST_MEMORY_MB" in refused.text


def test_many_aborted_uploads(door: Door) -> None:
    asked = post(body_of(10 * MEGABYTE))[:-1]
    for _ in range(60):
        with connect(door) as client:
            client.sendall(asked)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (body_of(9 * MEGABYTE)[:-1], 400),
        (body_of(9 * MEGABYTE, model="no"), 404),
        (body_of(9 * MEGABYTE, echo_nothing=1), 400),
        (body_of(9 * MEGABYTE), 200),
    ],
    ids=["not JSON", "no such model", "refused by the engine", "good"],
)
def test_requests_that_were_answered_leave_nothing(door: Door, body: bytes, expected: int) -> None:
    """Not in an exception, nor with a connection that is kept open."""
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connect(door))
            assert send(client, post(body))
            assert status(client) == expected


def test_bodies_that_nobody_may_send_leave_nothing(door: Door) -> None:
    """A 401 comes before the body; what of it is there already goes, though the connection stays open."""
    asked = head("", "content-length: 250000\r\n\r\n") + b" " * 250_000
    with uploads(door, [asked] * 400):
        pass


@pytest.mark.parametrize("value", [b'{"a":0}', b'{"":{}}', b"[[]]", b'""', b"1.5"], ids=bytes.decode)
def test_json_that_unpacks_to_many_times_its_size(door: Door, value: bytes) -> None:
    many = b",".join([value] * (20 * MEGABYTE // (len(value) + 1)))
    body = b'{"messages":[{"role":"user","content":"Hello"}],"metadata":[%b]}' % many
    asked = post(body)
    with uploads(door, [asked] * 3) as clients:
        assert {status(client) for client in clients} <= {200, 400, 413, 503}


@pytest.mark.parametrize("line", [b"a: b\r\n", b"x-%b: y\r\n" % (b"a" * 1000)], ids=["short", "long"])
def test_many_heads_that_are_never_whole(door: Door, line: bytes) -> None:
    with uploads(door, [head() + line * (250_000 // len(line))] * 1000):
        pass


def test_a_head_behind_a_running_request(door: Door) -> None:
    body = json.dumps({**CHAT, "stream": True, "max_tokens": 10**6, "ignore_eos": True}).encode()
    with connect(door) as client:
        client.sendall(post(body))
        assert status(client) == 200
        assert not send(client, b"GET /ping HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 65536, 500)
    until(lambda: door.metric("engineroom_echo_running") == 0)


def test_many_running_requests(tmp_path: Path) -> None:
    """Where nobody says how many may run, what runs counts, too."""
    with without_collector(tmp_path, {}) as door, watched(door):
        body = body_of(5 * MEGABYTE, echo_ttft_ms=60_000)
        with uploads(door, [post(body)] * 60):
            until(lambda: door.metric("engineroom_echo_running") >= 10)


def test_a_budget_without_room_for_one_request_is_refused() -> None:
    with serving({"REQUEST_MEMORY_MB": "60"}, ready=False) as door:
        assert door.ended() == 2
        assert "REQUEST_MEMORY_MB" in door.log
        assert "128" in door.log


def test_a_small_limit_on_bodies_leaves_room_for_many_connections() -> None:
    with serving({"MAX_REQUEST_MB": "0.01"}) as door, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(door))
        assert ask(door).status_code == 200
