"""Streams say what they took, to the door always, to the client where it asked."""

from __future__ import annotations

from typing import Any

import msgspec

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, header
from engineroom.openai.body import KEY, Request
from engineroom.openai.sse import EventSplitter, payloads

from ..context import RequestContext, get_context

_PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
_ASKED = {"include_usage": True}
_NULL = b',"usage":null'
_REFUSING = (400, 422)


class StreamUsage:
    """Asks the engine for a stream's usage where the client did not, and takes it out of the answer again.

    Without it the prompts of most streams would be missing from metrics and limits: OpenAI's clients ask for usage
    only where they are told to. A server that does not know `stream_options`, as an upstream may not, is not asked
    a second time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._refused = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Request | None = scope.get(KEY)
        if self._refused or request is None or scope["path"] not in _PATHS or not _asks_for_none(request.json):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, get_context(scope))
        await self._app({**scope, KEY: _asking(request)}, receive, answer.send)
        if answer.refused is None:
            return
        if b"stream_options" in answer.refused[-1]["body"]:
            self._refused = True
            await self._app(scope, receive, send)
            return
        for message in answer.refused:
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


class _Answer:
    """One answer on its way to the client.

    refused: a 400 held back until it is known what it is about, its body in one message.
    """

    def __init__(self, send: Send, call: RequestContext) -> None:
        self._send, self._call = send, call
        self._splitter: EventSplitter | None = None
        self.refused: list[Message] | None = None
        self.send: Send = self._pass_on

    async def _pass_on(self, message: Message) -> None:
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
            self._call.prompt_tokens = usage["prompt_tokens"]
            self._call.completion_tokens = usage["completion_tokens"]
        except (msgspec.DecodeError, LookupError, TypeError):
            return False
        return not choices
