"""One connection of HTTP/1.1 as its client sees it: a request, its response, then perhaps the next."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from .errors import ConnectionLostError, InvalidResponseError, ResponseTimeoutError
from .response import ServerResponse

_MAX_HEAD_BYTES = 1 << 16
"""Bytes of a response's head, with the informational ones (100, 103) before it."""
_MAX_HEADERS = 256
_MAX_FRAMING_BYTES = 1 << 16
"""Bytes after a head that are no part of the body, on end: the trailers, and a chunk's extensions."""
_SMALL_BYTES = 1 << 16
"""A body below that is copied to leave in one write with its head; a larger one is not copied."""
_BODILESS = frozenset({204, 304})
"""Statuses whose responses end with their heads, whatever these say (RFC 9112, 6.3)."""
_LARGE_HEAD = f"the response's head is larger than {_MAX_HEAD_BYTES} bytes"
_UNASKED = "the server sent what nobody had asked for"
_CLOSED = "the server closed the connection before its response was complete"


class ConnectionOwner(Protocol):
    """Whoever has connections made."""

    def connection_free(self, connection: ClientConnection) -> None:
        """A response is complete: the connection can take the next request."""

    def connection_gone(self, connection: ClientConnection) -> None:
        """The connection is closed, by whichever side."""


class ClientConnection(asyncio.Protocol):
    """A connection to a server, for one exchange at a time.

    Args:
        owner: learns when it is free, and when it is gone.
        idle_timeout: seconds that the server may be silent during an exchange; None for no limit.

    closed: whether it can take no request any more.
    used: whether it has had an exchange before: such a connection may be stale.
    answered: whether any byte of the current response has arrived.
    idle_since: when it became free, by the loop's clock.
    """

    def __init__(self, owner: ConnectionOwner, idle_timeout: float | None = None) -> None:
        self.closed = False
        self.used = False
        self.answered = False
        self.idle_since = 0.0
        self._owner = owner
        self._idle_timeout = idle_timeout
        self._idle_timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._paused = False
        self._head: asyncio.Future[ServerResponse] | None = None
        self._response: ServerResponse | None = None
        self._pieces: list[bytes] = []
        self._complete = False
        self._unasked = False
        self._keep_alive = False
        self._until_closed = False
        self._head_bytes = 0
        self._framing_bytes = 0
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._parser = httptools.HttpResponseParser(self)
        # Servers are less strict than the standard, and what they send is not passed on as it is.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    async def exchange(self, request: bytes, body: bytes) -> ServerResponse:
        """Send a request; returns the response once its head is here. Only on a connection that is free.

        Raises:
            ConnectionLostError: the connection broke before. Where `answered` is False nothing had come.
            InvalidResponseError: the response is no HTTP/1.1.
            ResponseTimeoutError: the server was silent for too long.
        """
        loop = asyncio.get_running_loop()
        self.answered = False
        self._head_bytes = 0
        self._complete = False
        if self.closed:
            raise InvalidResponseError(_UNASKED) if self._unasked else ConnectionLostError(_CLOSED)
        head: asyncio.Future[ServerResponse] = loop.create_future()
        self._head = head
        if len(body) < _SMALL_BYTES:
            self._transport.write(request + body)
        else:
            self._transport.writelines([request, body])
        if self._idle_timeout is not None:
            self._heard = loop.time()
            self._idle_timer = loop.call_later(self._idle_timeout, self._look)
        try:
            return await head
        except asyncio.CancelledError:
            if self._head is head:
                self.abort()
            elif not head.cancelled() and head.exception() is None:
                # It is here already, and the connection perhaps at work for another.
                head.result().close()
            raise

    def abort(self) -> None:
        """End the connection at once."""
        self.closed = True
        self._head = None
        self._response = None
        self._stop_timer()
        self._transport.abort()

    def close(self) -> None:
        """End the connection; a response that is not complete breaks off."""
        self._fail(ConnectionLostError("the connection was closed here"))

    def pause(self) -> None:
        if not self._paused and not self.closed:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self.closed:
            self._paused = False
            self._heard = asyncio.get_running_loop().time()
            self._transport.resume_reading()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._head is None and self._response is None:
            # Whatever this is, the next response must not begin with it.
            self._unasked = True
            self.abort()
            return
        self.answered = True
        if self._idle_timer is not None:
            self._heard = asyncio.get_running_loop().time()
        self._framing_bytes += len(data)
        error: Exception | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            error = InvalidResponseError("the server switched to another protocol")
        except httptools.HttpParserError as failure:
            # A failure that a callback raised is the parser error's context.
            cause = failure.__context__
            described = f"the response is no HTTP/1.1: {failure}"
            error = cause if isinstance(cause, InvalidResponseError) else InvalidResponseError(described)
        response = self._response
        if response is None:
            self._head_bytes += len(data)
            if error is None and self._head_bytes > _MAX_HEAD_BYTES:
                error = InvalidResponseError(_LARGE_HEAD)
        else:
            pieces = self._pieces
            if pieces:
                self._framing_bytes = 0
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                response.feed(piece, self._complete)
            elif error is None and self._framing_bytes > _MAX_FRAMING_BYTES:
                error = InvalidResponseError(f"more than {_MAX_FRAMING_BYTES} bytes of extensions or trailers")
        if self._complete:
            self._finish(error)
        elif error is not None:
            self._fail(error)

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._owner.connection_gone(self)
        del self._parser  # It refers back to here; nothing is to wait for a collection.
        if self._until_closed and error is None and self._response is not None:
            # A response without a length ends where its connection does.
            self._finish(None)
            return
        failure = ConnectionLostError(_CLOSED if error is None else f"the connection broke: {error}")
        failure.__cause__ = error
        self._fail(failure)

    # The parser's side.

    def on_message_begin(self) -> None:
        if self._complete:
            raise InvalidResponseError(_UNASKED)
        self._headers = {}
        self._header_count = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > _MAX_HEADERS:
            raise InvalidResponseError(f"the response has more than {_MAX_HEADERS} headers")
        if self._response is not None:
            return  # A trailer.
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise InvalidResponseError(_LARGE_HEAD)
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # Informational; the response itself follows.
        headers = self._headers
        self._header_count = 0
        self._framing_bytes = 0
        bodiless = status in _BODILESS
        has_length = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
        self._until_closed = not has_length and not bodiless
        self._response = ServerResponse(self, status, headers)
        if bodiless:
            self._complete = True
            self._keep_alive = False
        head = self._head
        self._head = None
        if head is not None and not head.done():
            head.set_result(self._response)

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._response is None:
            return  # An informational one.
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()

    def _finish(self, surplus: Exception | None) -> None:
        """The response is complete.

        Args:
            surplus: what is wrong with what came behind it; the connection cannot be used again then.
        """
        self._stop_timer()
        response = self._response
        self._response = None
        reusable = self._keep_alive and surplus is None and not self.closed
        # A server that answers before it has read the request would take its rest for the next one.
        if reusable and not self._transport.get_write_buffer_size():
            self.resume()
            self.used = True
            self._owner.connection_free(self)
        else:
            self.abort()
        if response is not None:
            response.feed_end()

    def _fail(self, error: Exception) -> None:
        response = self._response
        head = self._head
        self.abort()
        if response is not None:
            response.feed_end(error)
        elif head is not None and not head.done():
            head.set_exception(error)

    def _look(self) -> None:
        """End the exchange if the server has been silent for too long; look again when it may have been."""
        assert self._idle_timeout is not None
        loop = asyncio.get_running_loop()
        due = (loop.time() if self._paused else self._heard) + self._idle_timeout
        if due > loop.time():
            self._idle_timer = loop.call_at(due, self._look)
        else:
            self._fail(ResponseTimeoutError(f"the server was silent for {self._idle_timeout:g} s"))

    def _stop_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
