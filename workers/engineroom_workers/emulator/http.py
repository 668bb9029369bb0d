"""Reading a request's body and sending JSON, in plain ASGI, for routes that must be fast."""

from __future__ import annotations

from typing import Any

import msgspec

from engineroom.asgi import ClientDisconnected, Headers, Receive, Scope, Send, header, send_body

encode = msgspec.json.Encoder().encode


class BodyTooLarge(Exception):
    """The body is larger than the platform takes. It was read to its end and dropped, so the client can be answered."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body of a request.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        ClientDisconnected: the client closed its connection before the body was complete.
    """
    declared = header(scope, b"content-length")
    too_large = declared is not None and int(declared) > max_bytes
    parts: list[bytes] = []
    size = 0
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        size += len(part)
        too_large = too_large or size > max_bytes
        if part and not too_large:
            parts.append(part)
        more_body = message.get("more_body", False)
    if too_large:
        raise BodyTooLarge
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_json(send: Send, status: int, value: Any, headers: Headers | None = None) -> None:
    """Send a whole response."""
    await send_body(send, status, encode(value), b"application/json", headers)


async def send_error(send: Send, status: int, message: str) -> None:
    """Send an error as the platform does: an object with `error`."""
    await send_json(send, status, {"error": message})


async def send_no_content(send: Send) -> None:
    """Send a 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
