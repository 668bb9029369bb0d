"""What attackers send to a door: on sockets of their own, whole or in part, much of it, and without an end."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence

KEY = "sk-a"
"""The key of the attackers that have one."""

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
    return head(KEY, f"content-length: {len(body)}\r\n\r\n") + body


def connect(url: str) -> socket.socket:
    """A connection to a door on this machine."""
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)


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
def uploads(url: str, requests: Sequence[bytes]) -> Iterator[list[socket.socket]]:
    """Clients that send these at the same time, and stay."""
    clients = [connect(url) for _ in requests]
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
