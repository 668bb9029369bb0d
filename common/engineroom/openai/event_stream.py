"""A server's event stream read, and the response to a client written: as a stream, or whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..asgi.types import Send, send_body
from ..errors import APIError, incomplete_stream
from . import sse
from .aggregate import CompletionAggregator, to_chunks
from .chat_opening import ChatOpening
from .routes import CHAT_COMPLETIONS, TEXT_ROUTES

_DONE = b"[DONE]"
_STATUS_DIGITS = 3
_ERROR_WITHIN = 64
"""Bytes at an event's start among which the name `error` stands, where the event is one."""


async def read_events(
    chunks: AsyncIterable[bytes], path: str, make_error: Callable[[int, bytes], APIError]
) -> AsyncGenerator[list[bytes], None]:
    """The data of a stream's events, those that came together in one list, without `[DONE]`.

    Args:
        path: the route; streams of chat completions and completions have to end with `[DONE]`.
        make_error: makes an error of a status and an event that is one.

    Raises:
        APIError: for an event that is an error, once the events before it are given; and 502 where the stream ends
            before it is complete.
    """
    parser = sse.EventParser()
    async for chunk in chunks:
        batch: list[bytes] = []
        for data in parser.feed(chunk):
            if data == _DONE:
                if batch:
                    yield batch
                return
            error = error_in(data, make_error)
            if error is not None:
                if batch:
                    yield batch
                raise error
            if data != b"null":  # Some servers send it for an event of nothing.
                batch.append(data)
        if batch:
            yield batch
    # A last event may lack its blank line.
    last = parser.finish()
    if path in TEXT_ROUTES:
        if _DONE not in last:
            raise incomplete_stream()
    elif last:
        yield last


def decode_event(data: bytes) -> dict[str, Any]:
    """An event's data. Raises APIError where it is no JSON object."""
    try:
        event = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        event = None
    if not isinstance(event, dict):
        raise APIError("The engine sent an event that is not a JSON object.", status=502, code="engine_error")
    return event


def error_in(data: bytes, make_error: Callable[[int, bytes], APIError]) -> APIError | None:
    """The error that an event is, by its `code` where that is a status; None for any other event."""
    if b'"error"' not in data[:_ERROR_WITHIN]:
        return None
    error = decode_event(data).get("error")
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == _STATUS_DIGITS else code
    return make_error(code if isinstance(code, int) and 400 <= code < 600 else 500, data)


class ResponseWriter:
    """Sends one client its response, made of events: each as it comes, or together where it is to be whole.

    The response starts with the first event, so that an error before it has a status of its own. A streamed chat opens
    with the role, also where the events do not.

    Args:
        path: the route.
        json: the request as the client sent it; says whether it is a stream that is wanted.
        at_once: whether a stream, too, is sent only once all events are there.
        finish: changes the whole response, where there is one, before it is sent.
    """

    def __init__(
        self,
        path: str,
        json: Mapping[str, Any],
        send: Send,
        *,
        at_once: bool = False,
        finish: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._send = send
        self._stream = bool(json.get("stream"))
        self._include_usage = wants_usage_event(json)
        self._aggregator = CompletionAggregator() if at_once or not self._stream else None
        self._finish = finish
        self._opening = ChatOpening(json.get("n")) if path == CHAT_COMPLETIONS else None
        self._started = False

    async def write(self, events: Sequence[bytes | Mapping[str, Any]]) -> None:
        """Take the next events, decoded or as JSON; returns once the client may be sent more."""
        if self._aggregator is None:
            if events:
                await self._send_events(events, b"", more=True)
            return
        for event in events:
            self._aggregator.add(decode_event(event) if isinstance(event, bytes) else event)

    async def close(self) -> None:
        """All events are there: send the response, or the end of the stream.

        Raises:
            APIError: 502, the events are not enough for a whole response.
        """
        if self._aggregator is None:
            await self._send_events((), sse.DONE, more=False)
            return
        response = self._aggregator.response()
        if self._finish is not None:
            self._finish(response)
        if self._stream:
            await self._send_events(to_chunks(response, self._include_usage), sse.DONE, more=False)
        else:
            await send_body(self._send, 200, msgspec.json.encode(response), b"application/json")

    async def _send_events(self, events: Sequence[bytes | Mapping[str, Any]], end: bytes, *, more: bool) -> None:
        if not self._started:
            self._started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(sse.HEADERS)})
        data = [event if isinstance(event, bytes) else msgspec.json.encode(event) for event in events]
        if self._opening is not None and not self._opening.complete:
            data = [piece for event in data for piece in [*self._opening.openings(event), event]]
        body = b"".join(map(sse.encode, data)) + end
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def wants_usage_event(json: Mapping[str, Any]) -> bool:
    """Whether a request asks for a last event with the usage."""
    return bool((json.get("stream_options") or {}).get("include_usage"))
