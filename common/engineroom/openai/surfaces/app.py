"""The app that serves Responses and Messages over the chat of whatever engine stands behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from ...asgi.types import ASGIApp, Headers, Message, Receive, Scope, Send, header, send_body
from ...engine import Engine
from ...errors import APIError
from ..aggregate import to_chunks
from ..body import Request, checked_request, with_request
from ..event_stream import decode_event
from ..routes import CHAT_COMPLETIONS, COUNT_INPUT, COUNT_TOKENS, RESPONSES
from ..sse import HEADERS, EventParser
from ..usage import TokenUsage, get_usage
from .chat_reader import AnswerPiece, ChatReader
from .messages.translation import MessagesTranslation
from .responses.store import MemoryStorage, response_store
from .responses.stored import serve_stored
from .responses.translation import ResponsesTranslation
from .translation import Translation

_FORGOTTEN_S = 60
"""Seconds after which a server that had not a route is asked for it again."""
_MISSING = frozenset({404, 405, 501})
_SHORTENINGS = 12
"""How often a conversation is shortened until it fits: each time by half."""
_MORE_THAN_ANY_BUDGET = 2**31
_PARAMETERS_ASSUMED = frozenset({"top_k"})
"""What a server of which nothing is known is sent without further ado; it may refuse it itself."""


class SurfacesApp:
    """Serves the routes of Responses and Messages that the engine has not itself.

    A server that is elsewhere may have them, for all that is known: it is asked first, and chat takes the place of a
    route that it has not.

    Args:
        engine: its parameters and capabilities decide what can be asked of its chat.
        inner: the engine's own app.
    """

    def __init__(self, engine: Engine, inner: ASGIApp) -> None:
        self._engine = engine
        self._inner = inner
        self._memory = MemoryStorage()
        self._missing: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(RESPONSES + "/") and path != COUNT_INPUT:
            await serve_stored(response_store(scope, self._memory), scope, send)
            return
        if self._may_be_elsewhere(path):
            try:
                await self._inner(scope, receive, send)
                return
            except APIError as error:
                # A model that is missing there is missing for chat, too.
                if error.status not in _MISSING:
                    raise
                self._missing[path] = time.monotonic()
        json = checked_request(scope).json
        if json is None:
            raise APIError("The request's body must be JSON.", status=415, code="unsupported_media_type")
        if path == COUNT_TOKENS:
            counted = await self._count(self._message_to_count(json), scope, receive)
            await _send_json(send, {"input_tokens": counted})
        elif path == COUNT_INPUT:
            one_token = {**json, "stream": None, "max_output_tokens": 1}
            translation = await ResponsesTranslation.of(one_token, response_store(scope, self._memory))
            counted = await self._count(translation, scope, receive)
            await _send_json(send, {"object": "response.input_tokens", "input_tokens": counted})
        elif path == RESPONSES:
            translation = await ResponsesTranslation.of(json, response_store(scope, self._memory))
            await self._answer(translation, scope, receive, send)
        else:
            await self._answer(MessagesTranslation(json, self._parameters()), scope, receive, send)

    def _may_be_elsewhere(self, path: str) -> bool:
        """Whether the engine's own server is to be asked first."""
        missing = self._missing.get(path)
        forgotten = missing is None or time.monotonic() - missing > _FORGOTTEN_S
        return self._engine.capabilities.assumed and forgotten

    def _parameters(self) -> frozenset[str]:
        known = self._engine.sampling_params
        return known | _PARAMETERS_ASSUMED if self._engine.capabilities.assumed else known

    async def _answer(self, translation: Translation, scope: Scope, receive: Receive, send: Send) -> None:
        answer = TranslatedAnswer(translation, get_usage(scope), send)
        chat: dict[str, Any] | None = translation.chat
        for last in range(_SHORTENINGS + 1):
            assert chat is not None
            try:
                await self._inner(_chat_scope(scope, chat), receive, answer.send)
                break
            except APIError as error:
                translated = translation.paths.translate(error)
                if answer.started:
                    await answer.fail(translated)
                    return
                too_long = error.code == "context_length_exceeded" and last < _SHORTENINGS
                chat = translation.shortened() if too_long else None
                if chat is None:
                    raise translated from error
        await answer.finish()

    def _message_to_count(self, json: Mapping[str, Any]) -> MessagesTranslation:
        """A request whose tokens are to be counted, which has not to say how many more it would want."""
        return MessagesTranslation({**json, "max_tokens": _MORE_THAN_ANY_BUDGET, "stream": None}, self._parameters())

    async def _count(self, translation: Translation, scope: Scope, receive: Receive) -> int:
        """How many tokens a conversation is: as many as the engine says that is asked for one more."""
        usage = TokenUsage()
        answer = TranslatedAnswer(translation, usage, _unsent)
        try:
            await self._inner(_chat_scope(scope, {**translation.chat, "max_tokens": 1}), receive, answer.send)
        except APIError as error:
            raise translation.paths.translate(error) from error
        answer.read_usage()
        return usage.prompt_tokens


class TranslatedAnswer:
    """Takes a chat's response in, and sends the client that of its own surface.

    started: whether the client has got anything.
    """

    def __init__(self, translation: Translation, usage: TokenUsage, send: Send) -> None:
        self._translation = translation
        self._usage = usage
        self._send = send
        self._reader = ChatReader(translation.stops)
        self._parser = EventParser()
        self._parts: list[bytes] = []
        self._streams = False
        self.started = False

    async def send(self, message: Message) -> None:
        """What the chat's app sends.

        Raises:
            APIError: an event of the stream is an error.
        """
        if message["type"] == "http.response.start":
            self._streams = (header(message, b"content-type") or b"").startswith(b"text/event-stream")
            return
        body = message.get("body", b"")
        if not self._streams:
            self._parts.append(body)
            return
        pieces: list[AnswerPiece] = []
        for data in self._parser.feed(body):
            if data not in (b"[DONE]", b"null"):
                pieces += self._reader.read(decode_event(data))
        if self._translation.stream and not self.started:
            await self._start()
        events = self._translation.add(pieces)
        if self._translation.stream and events:
            await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def finish(self) -> None:
        """The chat's response is over: send the rest of the client's, or all of it."""
        if self._translation.stream and not self.started:
            await self._start()
        self._read_whole()
        events = self._translation.add(list(self._reader.finish()))
        self.read_usage()
        events += self._translation.end(self._reader, self._usage)
        await self._translation.keep()
        if self._translation.stream:
            await self._send({"type": "http.response.body", "body": events})
        else:
            await send_body(self._send, 200, self._translation.body(), b"application/json")

    async def fail(self, error: APIError) -> None:
        """End a response that has started with an error."""
        await self._send({"type": "http.response.body", "body": self._translation.fail(error)})

    def read_usage(self) -> None:
        """Take over what the chat says of its tokens, where nobody on the way has counted them."""
        self._read_whole()
        if self._reader.usage is not None:
            self._usage.read(self._reader.usage)

    async def _start(self) -> None:
        self.started = True
        headers: Headers = list(HEADERS)
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._usage.catch_up()
        beginning = self._translation.begin(self._usage)
        await self._send({"type": "http.response.body", "body": beginning, "more_body": True})

    def _read_whole(self) -> None:
        """Read a response that was not streamed, as if it had been."""
        if not self._parts:
            return
        response = decode_event(b"".join(self._parts))
        self._parts.clear()
        for event in (*to_chunks(response, False), {"usage": response.get("usage")}):
            self._translation.add(self._reader.read(event))


def _chat_scope(scope: Scope, chat: dict[str, Any]) -> Scope:
    """The scope of the chat request; the usage that is counted is that of the client's request."""
    return with_request({**scope, "path": CHAT_COMPLETIONS, "query_string": b""}, Request(None, chat))


async def _send_json(send: Send, json: Mapping[str, Any]) -> None:
    await send_body(send, 200, msgspec.json.encode(json), b"application/json")


async def _unsent(message: Message) -> None:
    raise AssertionError("a count of tokens has no events")
