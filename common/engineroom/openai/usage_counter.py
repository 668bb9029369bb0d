"""The layer beside an engine's inner app that counts the tokens of responses while they go by."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from ..asgi.fast_path import FastPath, fast_path
from ..asgi.types import SENT, ASGIApp, Message, Receive, Scope, Send, header
from ..errors import APIError
from .body import get_request, with_request
from .routes import MESSAGES, RESPONSES, TEXT_ROUTES
from .sse import EventSplitter, EventTooLargeError, payloads, split_events
from .usage import TokenUsage, count_events, requested_usage

_INCLUDED = {"include_usage": True}
_USAGE = b'"usage":'
_NULL = b',"usage":null'
_REFUSING_STATUSES = (400, 422)
_FIGURES = b'_tokens"'
"""What every usage contains. Within a JSON string the quote would be escaped, so this is a name, or ends a text."""
_FRAMING_EVENTS = 2
"""Events of each choice that are no token: the one with the role, the one with the finish reason."""
_MOST_UNCOUNTED = 16
"""Pieces of a stream that are kept to be counted together, unless somebody looks before."""


class _Holder(msgspec.Struct):
    """What may hold a usage: a body, or an event of Responses (`response`) or Messages (`message`).

    The rest, such as embeddings, is not decoded.
    """

    usage: Any = None
    response: Any = None
    message: Any = None


class _Chunk(msgspec.Struct):
    """An event of a completion that has a usage, perhaps beside choices."""

    usage: dict[str, Any]
    choices: list[Any] | None


_decode = msgspec.json.Decoder(_Holder).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class UsageCounter:
    """Writes the tokens of each response to its request's usage, while the response streams.

    Until the engine tells its usage, the events of a stream count. The engine is asked for it where the client did
    not ask, and the client does not see it then: OpenAI's clients ask for usage only where they are told to, and
    the prompts of most streams would be missing. A server that does not know `stream_options`, as an upstream may
    not, is not asked a second time.

    Responses whose usage nobody wants (no layer outside has called `get_usage`) pass untouched.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._refused = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        usage = requested_usage(scope)
        request = get_request(scope)
        if usage is None or request is None or request.json is None:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        json = request.json
        if not self._refused and path in TEXT_ROUTES and _leaves_usage_out(json):
            response = _StrippedResponse(path, json, usage, send)
            try:
                asking = with_request(scope, request.with_field("stream_options", _INCLUDED))
                await self._app(asking, receive, response.send)
                return
            except APIError as error:
                if response.started or not _refuses_stream_options(error):
                    raise
                self._refused = True
            finally:
                response.end()
        counted = _CountedResponse(path, json, usage, send)
        try:
            await self._app(scope, receive, counted.send)
        finally:
            counted.end()


def _leaves_usage_out(json: Mapping[str, Any]) -> bool:
    """Whether this is a stream without usage; anything else, and what is not well formed, is left as it is."""
    if json.get("stream") is not True:
        return False
    options = json.get("stream_options")
    return options is None or (isinstance(options, dict) and options in ({}, {"include_usage": False}))


def _refuses_stream_options(error: APIError) -> bool:
    return error.status in _REFUSING_STATUSES and "stream_options" in f"{error.param} {error.message}"


class _CountedResponse:
    """One response on its way to the client, which gets it as it is. `end()` it."""

    __slots__ = ("_fast", "_is_text", "_parts", "_path", "_send", "_splitter", "_tokens", "_uncounted", "_usage")

    def __init__(self, path: str, json: Mapping[str, Any], usage: TokenUsage, send: Send) -> None:
        self._path = path
        self._is_text = path in TEXT_ROUTES
        self._usage = usage
        self._send = send
        self._splitter: EventSplitter | None = None
        self._fast: FastPath | None = None
        self._uncounted: list[bytes] = []
        """Pieces of a stream."""
        self._parts: list[bytes] | None = None
        n = json.get("n")
        self._tokens = -_FRAMING_EVENTS * (n if isinstance(n, int) and n > 0 else 1) if self._is_text else 0

    def send(self, message: Message) -> Awaitable[None]:
        """Count a message, and pass it on. It is on the path of every token, and no coroutine: that is cheaper."""
        if self._splitter is not None:
            self._uncounted.append(message.get("body", b""))
            if len(self._uncounted) >= _MOST_UNCOUNTED or not message.get("more_body"):
                self._count_pieces()
        else:
            self._begin(message)
        return self._send(message)

    def fast_path(self) -> FastPath | None:
        """A path for pieces that are only counted here."""
        self._fast = fast_path(self._send, self) if self._splitter is not None else None
        return self._fast

    def note_pieces(self, times: Sequence[float], pieces: Sequence[bytes]) -> None:
        """Count what has passed by. Raises EventTooLargeError."""
        self._uncounted += pieces
        self._count_pieces()

    def _count_pieces(self) -> None:
        """Count what has come since the last call. Raises EventTooLargeError."""
        if self._splitter is None or not self._uncounted:
            return
        events = self._splitter.feed(self._take_uncounted())
        self._count(events)
        if events.find(_FIGURES) < 0:  # Quicker than `in`.
            return
        for event in split_events(events):
            if event.find(_FIGURES) >= 0:
                self._read(b"".join(payloads(event)))

    def _take_uncounted(self) -> bytes:
        pieces = b"".join(self._uncounted)
        self._uncounted.clear()
        return pieces

    def end(self) -> None:
        """Nothing more comes: all of it counts."""
        self._count_more()
        if self._fast is not None:
            self._fast.close()
        self._usage.count_more = None

    def _count_more(self) -> None:
        # The next piece of the stream raises it again, for whom it concerns.
        with suppress(EventTooLargeError):
            if self._fast is not None:
                self._fast.catch_up()
            if self._uncounted:
                self._count_pieces()

    def _count(self, events: bytes) -> None:
        """Count whole events by their number, as long as the engine has not told of more."""
        tokens = count_events(events) if self._is_text else self._count_deltas(events)
        if tokens:
            self._tokens += tokens
            if self._tokens > self._usage.completion_tokens:
                self._usage.completion_tokens = self._tokens

    def _begin(self, message: Message) -> None:
        """Take the beginning of a response, or a part of one that is no stream."""
        if message["type"] == "http.response.start":
            kind = header(message, b"content-type") or b""
            if kind.startswith(b"text/event-stream"):
                self._splitter = EventSplitter()
                self._usage.count_more = self._count_more
            elif kind.startswith(b"application/json") and message["status"] < 300:
                self._parts = []
        elif self._parts is not None:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body"):
                self._read(b"".join(self._parts))

    def _count_deltas(self, events: bytes) -> int:
        """How many events are probably one token each."""
        if self._path == MESSAGES:
            return events.count(b"event: content_block_delta")
        if self._path == RESPONSES:
            return events.count(b".delta\n") + events.count(b".delta\r\n")
        return count_events(events)

    def _read(self, body: bytes) -> None:
        """Take over the usage in a response's body, or in an event's data."""
        try:
            decoded = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        for usage in (decoded.usage, _usage_of(decoded.response), _usage_of(decoded.message)):
            if isinstance(usage, dict):
                self._usage.read(usage)


def _usage_of(holder: Any) -> Any:
    return holder.get("usage") if isinstance(holder, dict) else None


class _StrippedResponse(_CountedResponse):
    """One stream on its way to a client that shall not see the usage for which the engine was asked.

    started: whether anything was sent.
    """

    __slots__ = ("_between_events", "started")

    def __init__(self, path: str, json: Mapping[str, Any], usage: TokenUsage, send: Send) -> None:
        super().__init__(path, json, usage, send)
        self.started = False
        self._between_events = False
        """Whether all that has come of the stream are whole events; False before it has begun."""

    def send(self, message: Message) -> Awaitable[None]:
        """Count a message, and pass it on without usage. It is on the path of every token."""
        body = message.get("body", b"")
        # Within a JSON string the quotes would be escaped: where this is found it is a field.
        if self._between_events and body.endswith(b"\n\n") and body.find(_USAGE) < 0 and message.get("more_body"):
            self._uncounted.append(body)
            if len(self._uncounted) >= _MOST_UNCOUNTED:
                self._count_pieces()
            return self._send(message)
        return self._send_with_care(message, body)

    def fast_path(self) -> FastPath | None:
        """A path for whole events without usage."""
        fast = super().fast_path() if self._between_events else None
        if fast is not None:
            fast.reserve(_USAGE)
        return fast

    def _send_with_care(self, message: Message, body: bytes) -> Awaitable[None]:
        """Send the beginning, and whole events without usage; at the end whatever there is."""
        self.started = True
        if self._splitter is None:
            self._begin(message)
            self._between_events = self._splitter is not None
            return self._send(message)
        events = self._splitter.feed(body)
        rest = self._splitter.rest
        self._between_events = not rest
        self._uncounted.append(events)
        last = not message.get("more_body")
        if last or len(self._uncounted) >= _MOST_UNCOUNTED:
            self._count_pieces()
        if events.find(_USAGE) >= 0:
            self._count_pieces()
            events = self._without_usage(events)
        if last:
            events += rest
        elif not events:
            return SENT
        return self._send(message if events is body else {**message, "body": events})

    def _count_pieces(self) -> None:
        """Count what has come since the last call: whole events, whose usage is taken over where it is left out."""
        self._count(self._take_uncounted())

    def _without_usage(self, events: bytes) -> bytes:
        """Whole events without those that say nothing but the usage, and without the nulls in its place."""
        kept = []
        for event in split_events(events.replace(_NULL, b"")):
            if event.find(_USAGE) < 0 or not self._is_usage(event):
                kept.append(event)
        return b"".join(kept)

    def _is_usage(self, event: bytes) -> bool:
        """Take over the usage in an event; whether that says nothing else."""
        try:
            chunk = _decode_chunk(b"".join(payloads(event)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        self._usage.read(chunk.usage)
        return bool(chunk.usage) and not chunk.choices
