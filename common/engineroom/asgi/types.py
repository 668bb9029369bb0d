"""The few ASGI types that the program is written in (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any, cast

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

HANDOVER = "engineroom.handover"
"""Where a scope carries what can have another process ask an engine's server, and send its answer to the client from
there: see `Handover` in `engineroom.openai.gateway`."""

PIECES = "engineroom.pieces"
"""Where a message of a response, which has no body itself, says what another process has sent to the client: pairs of
a time by `time.perf_counter` and how many events the piece had."""


class Sent:
    """The end of a `send` that took its message at once: awaiting it ends at once, too.

    A piece of a stream passes through a dozen of them. As plain functions that hand this on they cost a fraction of as
    many coroutines, and who sees that it is this need not even wait.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return cast("Generator[Any, None, None]", iter(()))


SENT = Sent()
"""The one that there is: compare with `is`."""


ON_LEAVE = "engineroom.on_leave"
"""Where a scope carries the `Departure` of its client, if its server tells of it by a call: that spares a task for each
request that does nothing but wait in `receive`."""


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
    for key, value in scope["headers"]:
        if key == name:
            return value  # type: ignore[no-any-return]
    return None
