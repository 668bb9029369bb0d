"""Servers that say that they are well and are not: stand-ins, before a door that is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from http_door import Door, serving

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
KEY = "sk-at-the-server"


class StandinWrong(BaseHTTPRequestHandler):
    """Has the model `echo`, as it says, and answers requests to it in a way of its own."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.say(200, {"object": "list", "data": [{"id": "echo"}]})

    def do_POST(self) -> None:
        self.asked = self.rfile.read(int(self.headers["content-length"]))
        ways[self.path.split("/")[1]](self)

    def say(self, status: int, body: object, kind: str = "application/json", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def error(message: str) -> dict[str, object]:
    return {"error": {"message": message}}


ways: dict[str, Callable[[StandinWrong], None]] = {
    "redirect": lambda it: it.say(307, b"", location="https://elsewhere.example/v1"),
    "page": lambda it: it.say(200, b"<html>Please log in</html>", "text/html; charset=utf-8"),
    "no-json": lambda it: it.say(200, b"upstream connect error"),
    "cut": lambda it: it.say(200, b'{"choices": [{"message": {"content": "He'),
    "event": lambda it: it.say(200, b'data: {"choices": []}\n\ndata: [DONE]\n\n', "text/event-stream"),
    "no-event": lambda it: it.say(200, b'data: {"choices": [\n\n', "text/event-stream"),
    "cut-once": lambda it: it.say(200, b'{"choices": [' if b"break" in it.asked else {"choices": []}),
    "999": lambda it: it.say(999, {"choices": []}),
    "101": lambda it: it.say(101, b""),
    "unknown": lambda it: it.say(404, error("model 'echo' not found")),
    "busy": lambda it: it.say(429, error("slow down"), retry_after="17"),
    "busy-until": lambda it: it.say(503, error("busy"), retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
    "fails": lambda it: it.say(500, error("CUDA error")),
    "tells": lambda it: it.say(400, error(f"unexpected header {it.headers['authorization']}")),
    "encodes": lambda it: it.say(200, {"choices": [], "asked": it.headers["accept-encoding"]}),
}


@pytest.fixture(scope="module")
def wrong() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandinWrong)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def good() -> Iterator[Door]:
    with serving() as door:
        yield door


@contextmanager
def before(*urls: str, **settings: str) -> Iterator[Door]:
    urls = tuple(f"{url}/v1" for url in urls)
    with serving({"ENGINE": "upstream", "UPSTREAM_URLS": ",".join(urls), "UPSTREAM_API_KEY": KEY, **settings}) as door:
        yield door
        assert KEY not in door.log


def ask(door: Door) -> httpx.Response:
    return httpx.post(f"{door.url}/v1/chat/completions", json=CHAT, timeout=60)


@pytest.mark.parametrize(
    ("way", "status", "retry_after"),
    [
        ("redirect", 502, None),
        ("page", 502, None),
        ("no-json", 502, None),
        ("cut", 502, None),
        ("event", 502, None),
        ("999", 502, None),
        ("101", 502, None),
        ("unknown", 404, None),
        ("busy", 429, "17"),
        ("busy-until", 503, "1"),
        ("fails", 500, None),
    ],
)
def test_another_is_asked_and_where_there_is_none_a_client_is_told(
    wrong: str, good: Door, way: str, status: int, retry_after: str | None
) -> None:
    with before(f"{wrong}/{way}", good.url) as door:
        assert [ask(door).status_code for _ in range(2)] == [200, 200]
    with before(f"{wrong}/{way}") as door:
        alone = ask(door)
        assert (alone.status_code, alone.headers.get("retry-after")) == (status, retry_after)
        assert alone.json()["error"]["message"]


def test_one_that_fails_at_once_is_given_a_rest_though_it_is_the_least_loaded(wrong: str, good: Door) -> None:
    with before(f"{wrong}/fails", good.url, UPSTREAM_CHECK="60") as door:
        usable = f'engineroom_upstream_usable{{server="{wrong.removeprefix("http://")}/fails"}}'
        for _ in range(3):
            assert door.metric(usable) == 1
            assert ask(door).status_code == 200
        assert door.metric(usable) == 0


def test_requests_that_fail_everywhere_are_no_servers_fault(wrong: str) -> None:
    with before(f"{wrong}/fails", UPSTREAM_CHECK="60") as door:
        assert [ask(door).status_code for _ in range(5)] == [500] * 5
        assert door.ping() == 200


def test_a_server_whose_streams_are_none(wrong: str) -> None:
    for way in ("no-event", "encodes"):
        with before(f"{wrong}/{way}") as door:
            refused = httpx.post(f"{door.url}/v1/chat/completions", json={**CHAT, "stream": True}, timeout=60)
            assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_invalid")


def test_broken_answers_of_the_only_server_shut_nobody_out(wrong: str) -> None:
    """One client's request may be all that it cannot answer."""
    with before(f"{wrong}/cut-once", UPSTREAM_CHECK="60") as door:
        broken = {**CHAT, "user": "break"}
        for _ in range(5):
            assert httpx.post(f"{door.url}/v1/chat/completions", json=broken, timeout=60).status_code == 502
        assert door.ping() == 200
        assert ask(door).status_code == 200


def test_our_key_is_told_to_nobody(wrong: str) -> None:
    with before(f"{wrong}/tells") as door:
        told = ask(door)
        assert told.status_code == 400
        assert "unexpected header" in told.text
        assert KEY not in told.text


def test_answers_come_as_they_are_and_not_compressed(wrong: str) -> None:
    with before(f"{wrong}/encodes") as door:
        assert ask(door).json()["asked"] == "identity"


def test_a_url_that_leads_elsewhere_is_said_to() -> None:
    class StandinElsewhere(StandinWrong):
        def do_GET(self) -> None:
            self.say(308, b"", location="https://elsewhere.example/v1/models")

    server = ThreadingHTTPServer(("127.0.0.1", 0), StandinElsewhere)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        with serving({"ENGINE": "upstream", "UPSTREAM_URLS": url, "START_TIMEOUT": "1"}, ready=False) as door:
            assert door.ended() == 1
            assert "308 to https://elsewhere.example/v1/models" in door.log
    finally:
        server.shutdown()
        server.server_close()
