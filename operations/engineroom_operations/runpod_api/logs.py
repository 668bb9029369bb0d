"""Log lines of a pod or a worker, from the API's stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import msgspec


class LogEvent(msgspec.Struct):
    """A line. source: `container` for the program's, `system` for the platform's. ts: RFC 3339."""

    source: str = ""
    line: str = ""
    ts: str = ""


async def log_events(response: aiohttp.ClientResponse) -> AsyncIterator[LogEvent]:
    """The lines of a stream, until it ends."""
    data: list[bytes] = []
    async for raw in response.content:
        line = raw.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].lstrip(b" "))
        elif not line and data:
            event = _decoded(b"\n".join(data))
            data = []
            if event is not None:
                yield event


def _decoded(data: bytes) -> LogEvent | None:
    try:
        return msgspec.json.decode(data, type=LogEvent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
