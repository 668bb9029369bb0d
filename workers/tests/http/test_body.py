"""What does not arrive, or cannot be read, from outside."""

from __future__ import annotations

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
