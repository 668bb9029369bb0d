"""From an answer that went by to one that can be kept, and from a kept one to what a client asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from engineroom.asgi import FastPath, Headers, Message, Send, fast_path, header, send_body
from engineroom.errors import APIError
from engineroom.openai.aggregate import CompletionAggregator, to_chunks
from engineroom.openai.event_stream import decode_event, wants_usage_event
from engineroom.openai.merged_events import EventMerger
from engineroom.openai.sse import DONE, HEADERS, encode, payloads
from engineroom.openai.usage import TokenUsage

_MISSHAPEN = (AttributeError, LookupError, TypeError, ValueError)
"""What events raise in which a server has put something else than OpenAI does."""


class Recorder:
    """Passes an answer on and remembers it, as long as it is a good one of at most `limit` bytes.

    Args:
        usage: of this request, where it is counted: a stream does not tell it to a client that did not ask, and the
            answer is kept with it all the same.
        keep: gets the whole answer as JSON, if there is one to keep, before the client has the last of it: whoever asks
            the same again then finds it.

    whole: whether it has come to its end, good or not.
    """

    def __init__(
        self, send: Send, limit: int, usage: TokenUsage | None, keep: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._send = send
        self._usage = usage
        self._keep = keep
        self._room = limit
        self._parts: list[bytes] = []
        self._events: EventMerger | None = None
        self._good = False
        self.whole = False

    def send(self, message: Message) -> Awaitable[None]:
        """Take a message, and pass it on. It is on the path of every token, and no coroutine: that is cheaper."""
        if message["type"] == "http.response.start":
            kind = header(message, b"content-type") or b""
            if kind.startswith(b"text/event-stream"):
                self._events = EventMerger()
            self._good = message["status"] == 200 and kind.startswith((b"text/event-stream", b"application/json"))
            return self._send(message)
        self.whole = not message.get("more_body")
        if self._good:
            self._take(message.get("body", b""))
            if self._good and self.whole:
                return self._finish(message)
        return self._send(message)

    def fast_path(self) -> FastPath | None:
        """A path for pieces that are only remembered here."""
        return fast_path(self._send, self)

    def note_pieces(self, times: Sequence[float], pieces: Sequence[bytes]) -> None:
        """Remember what has passed by."""
        if self._good:
            self._take(b"".join(pieces))

    def _take(self, body: bytes) -> None:
        self._room -= len(body)
        if self._room < 0:
            self._good = False
        elif self._events is not None:
            self._events.add(body)
        else:
            self._parts.append(body)

    async def _finish(self, message: Message) -> None:
        answer = self._answer()
        if answer is not None:
            await self._keep(answer)
        await self._send(message)

    def _answer(self) -> bytes | None:
        if self._events is None:
            return b"".join(self._parts)
        return _joined(self._events.events(), None if self._usage is None else self._usage.reported)


def _joined(events: bytes, usage: Mapping[str, Any] | None) -> bytes | None:
    aggregator = CompletionAggregator()
    *chunks, last = payloads(events) or [b""]
    if last != b"[DONE]":
        return None
    try:
        for chunk in chunks:
            aggregator.add(decode_event(chunk))
        answer = aggregator.response()
        if usage is not None:
            answer.setdefault("usage", usage)
        return msgspec.json.encode(answer)
    except (APIError, *_MISSHAPEN):
        return None  # It ended in an error, or has events of no known shape. The client has seen either.


def suits(body: bytes, request: Mapping[str, Any]) -> bool:
    """Whether a kept answer has all that is asked for: one that was streamed may lack its usage."""
    options = request.get("stream_options") or {}
    needs_usage = not request.get("stream") or (isinstance(options, dict) and options.get("include_usage"))
    return not needs_usage or b'"usage":' in body


async def send_answer(send: Send, body: bytes, request: Mapping[str, Any], headers: Headers) -> None:
    """Send a kept answer, streamed if that is what the request asks for."""
    if not request.get("stream"):
        await send_body(send, 200, body, b"application/json", headers)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *headers]})
    await send({"type": "http.response.body", "body": _as_stream(body, request)})


def _as_stream(body: bytes, request: Mapping[str, Any]) -> bytes:
    chunks = to_chunks(msgspec.json.decode(body), wants_usage_event(request))
    return b"".join(encode(msgspec.json.encode(chunk)) for chunk in chunks) + DONE
