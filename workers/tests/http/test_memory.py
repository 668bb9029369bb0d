"""What clients can make the door hold: its resident memory under each attack, from outside.

The door runs without Python's collector of cycles. What it frees it has to free by itself: an exception that lives on,
and has a body in its traceback, shows here as memory that never comes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from attacks import CHAT, KEY, body_of, connect, head, post, send, status, uploads
from http_door import Door, ask, serving
from server_process import until

PEAK_MB = 300
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
MEGABYTE = 1_000_000


@contextlib.contextmanager
def without_collector(folder: Path, env: Mapping[str, str]) -> Iterator[Door]:
    """A door with default limits of bytes and one key, whose Python never collects cycles.

    Characters are not limited: what is large in these requests is one text.
    """
    # The command itself switches it on, once all is imported.
    (folder / "sitecustomize.py").write_text("import gc\n\ngc.disable()\ngc.enable = lambda: None\n")
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    settings = {"API_KEYS": KEY, "METRICS_OPEN": "1", "MAX_PROMPT_CHARACTERS": "0", "PYTHONPATH": paths}
    with serving({**settings, **env}, anew=True) as door:
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
        while True:
            seen.append(process.memory_info().rss)
            if over.wait(0.005):
                return

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
        served = httpx.post(f"{door.url}/v1/chat/completions", json=CHAT, headers=AUTHORIZED, timeout=60)
        assert served.status_code == 200, served.text
    finally:
        over.set()
        looking.join()
    assert max(seen) < PEAK_MB * MEGABYTE


@pytest.mark.parametrize("key", ["", KEY], ids=["no key", "a key"])
@pytest.mark.parametrize("block", [b"x-a: b\r\n" * 10_000, b"a" * 65536], ids=["many trailers", "one trailer"])
def test_trailers_without_end(door: Door, key: str, block: bytes) -> None:
    with connect(door.url) as client:
        client.sendall(head(key, "transfer-encoding: chunked\r\n\r\n") + b"2\r\n{}\r\n0\r\nx-first: ")
        assert not send(client, block, 200)
        assert status(client) in (401, 431, 0)


def test_trailers_are_no_headers(door: Door) -> None:
    """Whoever decides by a request's headers, like its key, decides by those before its body."""
    body = json.dumps(CHAT).encode()
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    with connect(door.url) as client:
        client.sendall(head(KEY, "transfer-encoding: chunked\r\n\r\n") + chunk + b"x-request-id: trailing\r\n\r\n")
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"trailing" not in answer


def test_a_chunk_extension_without_end(door: Door) -> None:
    with connect(door.url) as client:
        client.sendall(head(KEY, "transfer-encoding: chunked\r\n\r\n") + b"2;x=")
        assert not send(client, b"a" * 65536, 200)


@pytest.mark.parametrize("key", ["", KEY], ids=["no key", "a key"])
def test_chunks_of_one_byte_without_end(door: Door, key: str) -> None:
    """Each is a call of Python's, and others would wait for seconds."""
    with connect(door.url) as client:
        client.sendall(head(key, "transfer-encoding: chunked\r\n\r\n"))
        assert not send(client, b"1\r\n \r\n" * 10_000, 200)
        assert status(client) in (400, 401, 0)


def test_a_body_of_some_thousand_chunks_is_as_good_as_another(door: Door) -> None:
    body = json.dumps(CHAT).encode().ljust(9_000)
    with connect(door.url) as client:
        client.sendall(head(KEY, "transfer-encoding: chunked\r\n\r\n"))
        client.sendall(b"".join(b"1\r\n%b\r\n" % body[place : place + 1] for place in range(len(body))))
        client.sendall(b"0\r\n\r\n")
        assert status(client) == 200


def test_requests_that_wait_for_no_answer(door: Door) -> None:
    with connect(door.url) as client:
        assert not send(client, b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n" * 10_000, 100)


def test_many_open_uploads(door: Door) -> None:
    asked = post(body_of(12 * MEGABYTE))[:-1]
    with uploads(door.url, [asked] * 40) as clients:
        statuses = []
        for client in clients:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                statuses.append(status(client))
        assert statuses.count(503) > 20
        assert set(statuses) == {503}


def test_the_refusal_is_one_to_try_again_after(door: Door) -> None:
    asked = post(body_of(30 * MEGABYTE))[:-1]
    with uploads(door.url, [asked] * 2):
        refused = httpx.post(
            f"{door.url}/v1/chat/completions", content=body_of(30 * MEGABYTE), headers=AUTHORIZED, timeout=60
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_busy")
        assert int(refused.headers["retry-after"]) > 0
        assert "REQUEST_MEMORY_MB" in refused.text


def test_many_aborted_uploads(door: Door) -> None:
    asked = post(body_of(10 * MEGABYTE))[:-1]
    for _ in range(60):
        with connect(door.url) as client:
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
            client = stack.enter_context(connect(door.url))
            assert send(client, post(body))
            assert status(client) == expected


def test_bodies_that_nobody_may_send_leave_nothing(door: Door) -> None:
    """A 401 comes before the body; what of it is there already goes, though the connection stays open."""
    asked = head("", "content-length: 250000\r\n\r\n") + b" " * 250_000
    with uploads(door.url, [asked] * 400):
        pass


@pytest.mark.parametrize("value", [b'{"a":0}', b'{"":{}}', b"[[]]", b'""', b"1.5"], ids=bytes.decode)
def test_json_that_unpacks_to_many_times_its_size(door: Door, value: bytes) -> None:
    many = b",".join([value] * (20 * MEGABYTE // (len(value) + 1)))
    body = b'{"messages":[{"role":"user","content":"Hello"}],"metadata":[%b]}' % many
    asked = post(body)
    with uploads(door.url, [asked] * 3) as clients:
        assert {status(client) for client in clients} <= {200, 400, 413, 503}


@pytest.mark.parametrize("line", [b"a: b\r\n", b"x-%b: y\r\n" % (b"a" * 1000)], ids=["short", "long"])
def test_many_heads_that_are_never_whole(door: Door, line: bytes) -> None:
    with uploads(door.url, [head() + line * (250_000 // len(line))] * 1000):
        pass


def test_a_head_behind_a_running_request(door: Door) -> None:
    body = json.dumps({**CHAT, "stream": True, "max_tokens": 10**6, "ignore_eos": True}).encode()
    with connect(door.url) as client:
        client.sendall(post(body))
        assert status(client) == 200
        assert not send(client, b"GET /ping HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 65536, 500)
    until(lambda: door.metric("engineroom_echo_running") == 0)


def test_many_running_requests(tmp_path: Path) -> None:
    """Where nobody says how many may run, what runs counts, too."""
    with without_collector(tmp_path, {}) as door, watched(door):
        body = body_of(5 * MEGABYTE, echo_ttft_ms=60_000)
        with uploads(door.url, [post(body)] * 60):
            until(lambda: door.metric("engineroom_echo_running") >= 10)


def test_a_budget_without_room_for_one_request_is_refused() -> None:
    with serving({"REQUEST_MEMORY_MB": "60"}, ready=False, anew=True) as door:
        assert door.ended() == 2
        assert "REQUEST_MEMORY_MB" in door.log
        assert "128" in door.log


def test_a_small_limit_on_bodies_leaves_room_for_many_connections() -> None:
    with serving({"MAX_REQUEST_MB": "0.01"}, anew=True) as door, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(door.url))
        assert ask(door).status_code == 200
