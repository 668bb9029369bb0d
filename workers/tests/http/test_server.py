"""TLS, and clients that take nothing, from outside."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import httpx
from certificates import Pair, write
from http_door import serving
from server_process import until

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"messages": HELLO}


def test_tls(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, Pair())
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
