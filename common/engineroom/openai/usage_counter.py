"""The layer beside an engine's inner app that counts the tokens of responses while they go by."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from ..asgi.types import SENT, ASGIApp, Message, Receive, Scope, Send, header
from ..errors import APIError
from .body import get_request, with_request
from .routes import MESSAGES, RESPONSES, TEXT_ROUTES
from .sse import EventSplitter, payloads
from .usage import TokenUsage, count_events, requested_usage

_INCLUDED = {"include_usage": True}
_USAGE = b'"usage":'
_NULL = b',"usage":null'
_REFUSING_STATUSES = (400, 422)
_FIGURES = b'_tokens"'
"""What every usage contains. Within a JSON string the quote would be escaped, so this is a name, or ends a text."""
_FRAMING_EVENTS = 2
"""Events of each choice that are no token: the one with the role, the one with the finish reason."""


class _Holder(msgspec.Struct):
    """What may hold a usage: a body, or an event of Responses (`response`) or Messages (`message`).

    The rest, such as embeddings, is not decoded.
    """

    usage: Any = None
    response: Any = None
    message: Any = None


_decode = msgspec.json.Decoder(_Holder).decode


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
        if self._refused or path not in TEXT_ROUTES or not _leaves_usage_out(json):
            await self._app(scope, receive, _CountedResponse(path, json, usage, send).send)
            return
        response = _StrippedResponse(path, json, usage, send)
        try:
            asking = with_request(scope, request.with_field("stream_options", _INCLUDED))
            await self._app(asking, receive, response.send)
        except APIError as error:
            if response.started or not _refuses_stream_options(error):
                raise
            self._refused = True
            await self._app(scope, receive, _CountedResponse(path, json, usage, send).send)


def _leaves_usage_out(json: Mapping[str, Any]) -> bool:
    """Whether this is a stream without usage; anything else, and what is not well formed, is left as it is."""
    if json.get("stream") is not True:
        return False
    options = json.get("stream_options")
    return options is None or (isinstance(options, dict) and options in ({}, {"include_usage": False}))


def _refuses_stream_options(error: APIError) -> bool:
    return error.status in _REFUSING_STATUSES and "stream_options" in f"{error.param} {error.message}"


class _CountedResponse:
    """One response on its way to the client, which gets it as it is."""

    __slots__ = ("_is_text", "_parts", "_path", "_send", "_splitter", "_tokens", "_usage")

    def __init__(self, path: str, json: Mapping[str, Any], usage: TokenUsage, send: Send) -> None:
        self._path = path
        self._is_text = path in TEXT_ROUTES
        self._usage = usage
        self._send = send
        self._splitter: EventSplitter | None = None
        self._parts: list[bytes] | None = None
        n = json.get("n")
        self._tokens = -_FRAMING_EVENTS * (n if isinstance(n, int) and n > 0 else 1) if self._is_text else 0

    def send(self, message: Message) -> Awaitable[None]:
        """Count a message, and pass it on. It is on the path of every token, and no coroutine: that is cheaper."""
        if self._splitter is not None:
            events = self._splitter.feed(message.get("body", b""))
            if events:
                self._count(events)
        elif message["type"] == "http.response.start":
            self._start(message)
        elif self._parts is not None:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body"):
                self._read(b"".join(self._parts))
        return self._send(message)

    def _start(self, message: Message) -> None:
        kind = header(message, b"content-type") or b""
        if kind.startswith(b"text/event-stream"):
            self._splitter = EventSplitter()
        elif kind.startswith(b"application/json") and message["status"] < 300:
            self._parts = []

    def _count(self, events: bytes) -> None:
        """Count whole events: as the usage in them says, else by their number."""
        tokens = count_events(events) if self._is_text else self._count_deltas(events)
        if tokens:
            self._tokens += tokens
            if self._tokens > self._usage.completion_tokens:
                self._usage.completion_tokens = self._tokens
        if events.find(_FIGURES) >= 0:  # Quicker than `in`, and on the path of every token.
            for data in payloads(events):
                if data.find(_FIGURES) >= 0:
                    self._read(data)

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
        response = decoded.response
        message = decoded.message
        for usage in (decoded.usage, _usage_of(response), _usage_of(message)):
            if isinstance(usage, dict):
                self._usage.read(usage)


def _usage_of(holder: Any) -> Any:
    return holder.get("usage") if isinstance(holder, dict) else None


class _StrippedResponse(_CountedResponse):
    """One stream on its way to a client that shall not see the usage for which the engine was asked.

    started: whether anything was sent.
    """

    __slots__ = ("started",)

    def __init__(self, path: str, json: Mapping[str, Any], usage: TokenUsage, send: Send) -> None:
        super().__init__(path, json, usage, send)
        self.started = False

    def send(self, message: Message) -> Awaitable[None]:
        self.started = True
        if message["type"] == "http.response.start" or self._splitter is None:
            return super().send(message)
        body = message.get("body", b"")
        events = self._splitter.feed(body)
        if events:
            self._count(events)
        if events.find(_USAGE) >= 0:
            # Within a JSON string its quotes would be escaped: this is a field.
            events = _without_usage(events)
        if not message.get("more_body"):
            events += self._splitter.rest
        elif not events:
            return SENT
        return self._send(message if events is body else {**message, "body": events})


def _without_usage(events: bytes) -> bytes:
    """Whole events without those that say nothing but the usage, and without the nulls in its place."""
    events = events.replace(_NULL, b"")
    if _USAGE not in events:
        return events
    kept = events.replace(b"\r\n", b"\n").split(b"\n\n")
    return b"\n\n".join(event for event in kept if not _is_usage(event))


def _is_usage(event: bytes) -> bool:
    """Whether an event says nothing but the usage."""
    if _USAGE not in event:
        return False
    try:
        chunk = msgspec.json.decode(b"".join(payloads(event)))
        return bool(chunk["usage"]) and not chunk["choices"]
    except (msgspec.DecodeError, LookupError, TypeError):
        return False
