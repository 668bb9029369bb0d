"""What does not arrive, or cannot be read, from outside."""

from __future__ import annotations

import http.client
import socket

import httpx
from http_door import serving


def test_a_body_that_does_not_come_is_408() -> None:
    with serving({"BODY_TIMEOUT": "0.5"}) as door:
        host, port = door.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as stalled:
            stalled.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            assert stalled.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_body_that_is_too_large_is_413() -> None:
    with serving({"MAX_REQUEST_MB": "0.1"}) as door:
        for content in (b" " * 200_000, iter([b" " * 100_000, b" " * 100_000])):
            answer = httpx.post(f"{door.url}/v1/chat/completions", content=content)
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "request_too_large"


def status_of(connection: socket.socket) -> int:
    """The status of the next response, which is read whole."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def test_the_rest_of_a_refused_body_may_still_come() -> None:
    """A client, or a proxy, that is still sending when the 413 comes is not cut off: it would never read it."""
    with serving({"MAX_REQUEST_MB": "0.1"}) as door:
        address = ("127.0.0.1", int(door.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=60) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n"
            connection.sendall(head.encode())
            assert status_of(connection) == 413
            for _ in range(20):
                connection.sendall(b" " * 10_000)
            connection.sendall(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
            assert status_of(connection) == 200


def test_a_wrong_url_is_said_before_a_wrong_body() -> None:
    """Whoever tries a URL by hand often sends no body; that is not what is wrong."""
    with serving() as door:
        for content in (b"", b"{", b"\x1f\x8b"):
            headers = {"content-encoding": "gzip"} if content.startswith(b"\x1f") else {}
            answer = httpx.post(f"{door.url}/v1/chat/completion", content=content, headers=headers)
            assert answer.status_code == 404
            assert "Did you mean /v1/chat/completions?" in answer.json()["error"]["message"]
