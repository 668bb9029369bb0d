"""The streaming proxy: a request to an engine's server, its answer passed on as it comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import msgspec

from ..asgi.fast_path import FastPath, fast_path
from ..asgi.types import SENT, Headers, Receive, Scope, Send, send_body
from ..errors import APIError, incomplete_stream
from ..http_client.response import RelayableResponse
from ..openai.body import Request, checked_request
from ..openai.chat_opening import ChatOpening
from ..openai.event_stream import error_in
from ..openai.routes import CHAT_COMPLETIONS, TEXT_ROUTES
from ..openai.sse import payloads
from ..openai.stop_strings import RETURN_STOP_REASON

if TYPE_CHECKING:
    from ..engine import Health
    from .connection import Upstream

_PASSED_ON = {
    b"accept",
    b"anthropic-beta",
    b"anthropic-version",
    b"content-type",
    b"traceparent",
    b"tracestate",
    b"x-request-id",
}
"""Request headers the engine sees. A client's Authorization is the door's business, never the engine's."""

_PLAIN = "/:@!$&'()*+,;=[]"
"""Characters that mean nothing else in a URL's path: what a client quoted stays quoted (RFC 3986)."""

_LARGEST_ERROR = 65536
_LAST_EVENT_BYTES = 32
"""More than the event that ends a stream has."""
_FAST_PATH_ASKS = 4
"""How many pieces in turn may find no fast path before it is given up for their stream."""
_COMMENT_STARTS = b":\r\n"
_COMMENTS = re.compile(rb"(?::[^\n]*\n|\r?\n)*")
_EVENT_STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""Nothing between us and the client is to hold events back (nginx reads the second)."""


class Proxied(Protocol):
    """A server that requests can be passed on to, as a proxy sees it; `ServerEngine` says what each is."""

    @property
    def upstream(self) -> Upstream: ...

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None: ...

    def normalise_error(self, status: int, body: bytes) -> APIError: ...

    def health(self) -> Health: ...

    async def lost(self, error: Exception) -> APIError: ...


class Proxy:
    """The inner app of a `ServerEngine`, behind the gateway, which cancels it when the client disconnects.

    JSON is answered whole, anything else is streamed: what arrives together goes out together, at that moment. As long
    as the client does not take it nothing more is read from the engine, so a slow reader slows the engine's socket, not
    our memory.
    """

    def __init__(self, engine: Proxied) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = checked_request(scope)
        changed = None if request.json is None else self._engine.prepare(scope["path"], request.json)
        if RETURN_STOP_REASON in (changed or request.json or ()):
            # Ours; no server knows it.
            changed = dict(changed or request.json or {})
            del changed[RETURN_STOP_REASON]
        body = request.body if changed is None else msgspec.json.encode(changed)
        try:
            async with await self.open(scope, body) as response:
                await self.answer(scope, request, response, send)
        except (ConnectionError, asyncio.TimeoutError) as error:
            raise await self._engine.lost(error) from error

    async def open(self, scope: Scope, body: bytes) -> RelayableResponse:
        """Send the request and return the response once its head is here. Raises one of `FAILURES`."""
        target = quote(self.path(scope), safe=_PLAIN)
        if scope["query_string"]:
            target += "?" + quote(scope["query_string"], safe=_PLAIN + "%?")
        headers = {name: value for name, value in scope["headers"] if name in _PASSED_ON}
        return await self._engine.upstream.request(scope["method"], target, headers, body)

    def path(self, scope: Scope) -> str:
        """Where the request goes, below the server's URL. Override where the server has another layout."""
        return str(scope["path"])

    async def answer(self, scope: Scope, request: Request, response: RelayableResponse, send: Send) -> None:
        """Pass the response on. Override to change what an engine answers.

        Raises:
            APIError: the engine's own error, normalised.
        """
        if response.status >= 400:
            raise self._engine.normalise_error(response.status, await response.read(_LARGEST_ERROR))
        content_type = response.headers.get("content-type", "application/octet-stream")
        if content_type.startswith("application/json") or response.status in (204, 304):
            whole = await self.rewrite(scope["path"], await response.read())
            await send_body(send, response.status, whole, content_type.encode("latin-1"))
            return
        await self.stream(scope, response, content_type, send)

    async def rewrite(self, path: str, body: bytes) -> bytes:
        """The JSON answer to send instead of the engine's; as it is by default."""
        return body

    def look_at_first(self, events: bytes) -> None:
        """Look at a stream's first piece, before anything is sent.

        Raises:
            APIError: to answer with that instead. Some servers begin a stream before they look at the request, and
                refuse it in the first event; the client gets that with its status.
        """
        if events.find(b"error") < 0:
            return
        first, blank_line, _ = events.replace(b"\r\n", b"\n").partition(b"\n\n")
        for data in payloads(first) if blank_line else ():
            error = error_in(data, self._engine.normalise_error)
            if error is not None:
                raise error

    async def stream(self, scope: Scope, response: RelayableResponse, content_type: str, send: Send) -> None:
        """Pass a streamed body on as it arrives; a chat whose server skips the chunk with the role gets one.

        Raises:
            APIError: 502 where an event stream ends before it is complete.
        """
        events = content_type.startswith("text/event-stream")
        # Some servers send a stream's headers long before its first token. Until that is there the client gets
        # nothing, so that a server which dies meanwhile is told by a status, and can be followed by another.
        first = await _first_events(response) if events else await response.read_available()
        ends_with_done = events and scope["path"] in TEXT_ROUTES
        if ends_with_done and not first:
            raise incomplete_stream()
        if events:
            self.look_at_first(first)
        headers: Headers = [(b"content-type", content_type.encode("latin-1"))]
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": headers + (_EVENT_STREAM_HEADERS if events else []),
            }
        )
        opening = ChatOpening(_choices(scope)) if events and scope["path"] == CHAT_COMPLETIONS else None
        body = _StreamedBody(send, opening, ends_with_done)
        sent = body.take(first, response.complete)
        if sent is not None:
            await sent
        await response.relay(body.take)
        await body.finish()


class _StreamedBody:
    """A streamed body on its way to the client.

    Args:
        opening: puts in the chunk with the role, for a chat.
        ends_with_done: whether it is broken unless it ends with `[DONE]`.
    """

    def __init__(self, send: Send, opening: ChatOpening | None, ends_with_done: bool) -> None:
        self._send = send
        self._opening = opening
        self._ends_with_done = ends_with_done
        self._end = b""
        self._finished = False
        self._fast: FastPath | None = None
        self._flows = False
        """Whether the client has got something of the body, so that what follows may take a fast path."""
        self._asks = _FAST_PATH_ASKS

    def take(self, piece: bytes, last: bool) -> Awaitable[None] | None:
        """Send what has arrived. It is on the path of every token, and no coroutine: that is cheaper."""
        if self._fast is not None and not last and self._fast.take(piece):
            self._end = piece
            return None
        return self._take_with_care(piece, last)

    def _take_with_care(self, piece: bytes, last: bool) -> Awaitable[None] | None:
        """Send what no fast path takes."""
        if self._fast is not None:
            self._fast.close()
            self._fast = None
        elif self._flows and self._asks and not last and self._find_fast_path(piece):
            self._end = piece
            return None
        self._end = piece if len(piece) > _LAST_EVENT_BYTES else (self._end + piece)[-2 * _LAST_EVENT_BYTES :]
        if self._opening is not None:
            piece = self._opening.feed(piece)
            if self._opening.complete:
                self._opening = None
        if last and self._opening is None and self._is_whole:
            # Its last piece and the response's end leave in one write.
            self._finished = True
            return self._send({"type": "http.response.body", "body": piece})
        if not piece:
            return None
        self._flows = self._opening is None
        sent = self._send({"type": "http.response.body", "body": piece, "more_body": True})
        return None if sent is SENT else sent

    def _find_fast_path(self, piece: bytes) -> bool:
        """Whether there is a fast path, which has taken this piece and is to take what follows."""
        self._asks -= 1
        fast = fast_path(self._send)
        if fast is None or not fast.take(piece):
            return False
        self._fast = fast
        self._asks = _FAST_PATH_ASKS
        return True

    @property
    def _is_whole(self) -> bool:
        return not self._ends_with_done or self._end.rstrip().endswith(b"[DONE]")

    async def finish(self) -> None:
        """End the response, unless that has been done with its last piece. Raises APIError where it is not whole."""
        if self._fast is not None:
            self._fast.close()
        if self._finished:
            return
        if not self._is_whole:
            raise incomplete_stream()
        rest = b"" if self._opening is None else self._opening.finish()
        await self._send({"type": "http.response.body", "body": rest})


def _choices(scope: Scope) -> Any:
    """`n` of a request, which may be anything."""
    return (checked_request(scope).json or {}).get("n")


async def _first_events(response: RelayableResponse) -> bytes:
    """A stream's first piece that is more than comments; empty at the end of one that has nothing else.

    With comments a server says that it is still at work. That is no beginning: another may still answer instead.
    """
    piece = b""
    while more := await response.read_available():
        piece += more
        if piece[0] in _COMMENT_STARTS:
            piece = _COMMENTS.sub(b"", piece, count=1)
        if piece and not piece.startswith(b":"):
            return piece
    return b""
