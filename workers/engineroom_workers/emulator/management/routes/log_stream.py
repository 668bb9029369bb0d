"""A log as Server-Sent Events: what there is, and then each line as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timezone

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...http import encode
from ..identifiers import timestamp
from ..logs import LOG_SOURCES, ContainerLine, Log, LogSource
from .requests import query_choice, query_int, wrong_query

DEFAULT_TAIL = 100
LARGEST_TAIL = 5000
HEARTBEAT_S = 15.0
"""Seconds without a line after which a comment shows that the stream lives."""
HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}


def log_stream(request: Request, log: Log) -> Response:
    """The answer to a request for a log, which lasts until the log ends or the client leaves.

    Raises:
        RequestProblem: a parameter is wrong.
    """
    source = query_choice(request, "source", LOG_SOURCES, None)
    tail = query_int(request, "tail", 0, LARGEST_TAIL)
    resumed = request.headers.get("last-event-id") or request.query_params.get("since")
    if resumed:
        first: Sequence[ContainerLine] = log.after(_normalized(resumed))
    else:
        first = log.last(DEFAULT_TAIL if tail is None else tail, source)
    return StreamingResponse(_events(log, first, source), media_type="text/event-stream", headers=HEADERS)


async def _events(log: Log, first: Sequence[ContainerLine], source: LogSource | None) -> AsyncIterator[bytes]:
    written = log.written
    for event in _as_events(first, source):
        yield event
    while True:
        for event in _as_events(log.since(written), source):
            yield event
        written = log.written
        if log.closed:
            return
        if not await log.more_than(written, HEARTBEAT_S):
            yield b": waiting\n\n"


def _as_events(lines: Iterable[ContainerLine], source: LogSource | None) -> Iterable[bytes]:
    for line in lines:
        if source in (None, line.source):
            data = encode({"source": line.source, "line": line.line, "ts": line.ts})
            yield b"id: " + line.ts.encode() + b"\ndata: " + data + b"\n\n"


def _normalized(text: str) -> str:
    """A time as the log writes it, in UTC, so that texts compare as times do."""
    with contextlib.suppress(ValueError):
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return timestamp((at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp(), "microseconds")
    raise wrong_query(f"since: {text!r} is no time such as 2026-11-26T12:00:00Z")
