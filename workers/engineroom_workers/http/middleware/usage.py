"""Counts a response's tokens, and asks the engine for a stream's usage where the client did not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, header
from engineroom.openai.body import KEY, Request, get_request
from engineroom.openai.sse import EventSplitter, payloads
from engineroom.openai.usage import TokenUsage, get_usage

from .base import Middleware, Resources

if TYPE_CHECKING:
    from ..options import Options

_PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
_ASKED = {"include_usage": True}
_NULL = b',"usage":null'
_REFUSING = (400, 422)
_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)":\s*(\d+)')
_COMPLETION = re.compile(rb'"(?:completion_tokens|output_tokens)":\s*(\d+)')
_NOT_TOKENS = 2
"""Events of a stream that are no token: the one with the role, the one with the finish reason."""


class UsageMiddleware(Middleware):
    """Asks the engine for a stream's usage where the client did not, and takes it out of the response again.

    Without it the prompts of most streams would be missing from metrics and limits: OpenAI's clients ask for usage
    only where they are told to. A server that does not know `stream_options`, as an upstream may not, is not asked
    a second time.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._refused = False

    @classmethod
    def wanted(cls, options: Options) -> bool:
        observe, limits = options.observe, options.limits
        return bool(observe.metrics or observe.access_log or limits.tokens_per_minute or options.access.api_keys_file)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        usage, request = get_usage(scope), get_request(scope)
        send = _TokenCounter(usage, send).send
        if self._refused or request is None or scope["path"] not in _PATHS or not _asks_for_none(request.json):
            await self.app(scope, receive, send)
            return
        response = _StrippedStream(send, usage)
        await self.app({**scope, KEY: _asking(request)}, receive, response.send)
        if response.refused is None:
            return
        if b"stream_options" in response.refused[-1]["body"]:
            self._refused = True
            await self.app(scope, receive, send)
            return
        for message in response.refused:
            await send(message)


def _asks_for_none(json: dict[str, Any] | None) -> bool:
    """Whether this is a stream without usage; anything else, and what is not well formed, is left as it is."""
    if json is None or json.get("stream") is not True:
        return False
    options = json.get("stream_options")
    return options is None or (isinstance(options, dict) and options in ({}, {"include_usage": False}))


def _asking(request: Request) -> Request:
    assert request.json is not None
    json = {**request.json, "stream_options": _ASKED}
    if "stream_options" in request.json:
        return Request(msgspec.json.encode(json), json)
    # A large prompt is not written anew for it.
    return Request(b'{"stream_options":' + msgspec.json.encode(_ASKED) + b"," + request.body.partition(b"{")[2], json)


class _TokenCounter:
    """Counts a response's tokens: as its usage says, else as many as a stream has events."""

    def __init__(self, usage: TokenUsage, send: Send) -> None:
        self._usage, self._send = usage, send
        self._streamed = False
        self._events = 0
        self._end = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._streamed = (header(message, b"content-type") or b"").startswith(b"text/event-stream")
        elif body := message.get("body", b""):
            self._count(body, last=not message.get("more_body"))
        await self._send(message)

    def _count(self, body: bytes, last: bool) -> None:
        if self._streamed and not self._usage.prompt_tokens:
            self._events += body.count(b"\ndata: {") + body.startswith(b"data: {")
            self._usage.completion_tokens = max(self._usage.completion_tokens, self._events - _NOT_TOKENS)
        # The usage comes last, but not in the very last piece.
        self._end = body if len(body) > 2048 else (self._end + body)[-2048:]
        if not last and b'"usage":' not in body:
            return
        usage = self._end[max(0, self._end.rfind(b'"usage":')) :]
        prompt, completion = _PROMPT.search(usage), _COMPLETION.search(usage)
        if prompt is not None:
            self._usage.prompt_tokens = int(prompt[1])
        if completion is not None:
            self._usage.completion_tokens = int(completion[1])


class _StrippedStream:
    """One response on its way to the client.

    refused: a 400 held back until it is known what it is about, its body in one message.
    """

    def __init__(self, send: Send, usage: TokenUsage) -> None:
        self._send, self._usage = send, usage
        self._splitter: EventSplitter | None = None
        self.refused: list[Message] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] in _REFUSING:
                self.refused = [message, {"type": "http.response.body", "body": b""}]
                return
            if (header(message, b"content-type") or b"").startswith(b"text/event-stream"):
                self._splitter = EventSplitter()
        elif self.refused is not None:
            self.refused[-1]["body"] += message.get("body", b"")
            return
        elif self._splitter is not None:
            whole = self._splitter.feed(message.get("body", b""))
            events = self._without_usage(whole)
            if not message.get("more_body"):
                events += self._splitter.rest
            elif not events:
                return
            message = {**message, "body": events}
        await self._send(message)

    def _without_usage(self, events: bytes) -> bytes:
        if b'"usage":' not in events:
            return events
        # Within a JSON string its quotes would be escaped: this is a field.
        events = events.replace(_NULL, b"")
        if b'"usage":' not in events:
            return events
        kept = events.replace(b"\r\n", b"\n").split(b"\n\n")
        return b"\n\n".join(event for event in kept if not self._is_usage(event))

    def _is_usage(self, event: bytes) -> bool:
        """Whether an event says nothing but the usage, which is noted."""
        if b'"usage":' not in event:
            return False
        try:
            chunk = msgspec.json.decode(payloads(event)[0])
            usage, choices = chunk["usage"], chunk["choices"]
            self._usage.prompt_tokens = usage["prompt_tokens"]
            self._usage.completion_tokens = usage["completion_tokens"]
        except (msgspec.DecodeError, LookupError, TypeError):
            return False
        return not choices
