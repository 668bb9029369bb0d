"""Reading a request's body and sending JSON, in plain ASGI, for both sides."""

from __future__ import annotations

from typing import Any

import msgspec

from engineroom.asgi import Headers, Receive, Scope, Send, header, send_body

encode = msgspec.json.Encoder().encode

NO_CONTENT: dict[str, Any] = {"type": "http.response.start", "status": 204, "headers": []}


class BodyTooLarge(Exception):
    """The body is larger than the platform takes. It has been read to its end and thrown away."""


class ClientGone(Exception):
    """The client hung up before its body was complete."""


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it has more than `most` bytes.
        ClientGone: the client hung up.
    """
    declared = header(scope, b"content-length")
    too_large = declared is not None and int(declared) > most
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        too_large = too_large or size > most
        if part and not too_large:
            parts.append(part)
        if not message.get("more_body", False):
            break
    if too_large:
        raise BodyTooLarge
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_json(send: Send, status: int, value: Any, headers: Headers | None = None) -> None:
    await send_body(send, status, encode(value), b"application/json", headers)


async def send_error(send: Send, status: int, message: str) -> None:
    await send_json(send, status, {"error": message})


async def send_nothing(send: Send) -> None:
    """204."""
    await send(NO_CONTENT)
    await send({"type": "http.response.body", "body": b""})
