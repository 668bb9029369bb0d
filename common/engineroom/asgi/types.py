"""The few ASGI types that the program is written in (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
"""Raw headers, names in lower case."""

RESERVATION = "engineroom.reservation"
"""Where a scope carries what its request holds of the memory for those that wait, if that is limited. Whoever lets it
run calls `release()`."""


async def send_body(send: Send, status: int, body: bytes, content_type: bytes, headers: Headers | None = None) -> None:
    """Send a whole response in two messages."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(body)).encode()),
                *(headers or ()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of header `name` (lower case) in a request's scope, or None."""
    return next((value for key, value in scope["headers"] if key == name), None)
