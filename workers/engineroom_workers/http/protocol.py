"""HTTP itself is uvicorn's; here are the limits that it lacks, and its refusals in the API's own form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from engineroom.errors import APIError
from engineroom.openai.errors import error_body

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

_MAX_HEAD_BYTES = 256 * 1024
"""Bytes of a request's line and headers; several times what browsers and proxies send at most."""

_MAX_PIPELINED = 8
"""Requests that a client may send before it has a response, before no more is read from it."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which refuses a client that sends no whole request head in time, or one without end.

    A connection between two requests is uvicorn's business: it closes one that is idle for too long. One whose
    request was answered before its body was there, as by a 401, has `timeout` for the rest of it.

    An offer of another protocol (`Upgrade: h2c`, which Java's client makes with every first request) is left aside,
    and clients of HTTP/1.0 get bodies without chunks, which they do not know.
    """

    timeout: ClassVar[float] = 60
    """Seconds from a connection's or a request's beginning until its head must be there."""

    _head_timer: asyncio.TimerHandle | None = None
    """Runs while a head is not whole yet."""
    _body_timer: asyncio.TimerHandle | None = None
    """Runs while a request that has its response is not whole yet."""
    _head_bytes = 0
    _cycles: Sequence[RequestResponseCycle] = ()
    """The requests whose responses are not complete, in the order of their arrival."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        # uvicorn tells only the last request, which is not the one that runs where a client sent several at once.
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = data
        while rest:
            try:
                self.parser.feed_data(rest)
                rest = b""
            except httptools.HttpParserUpgrade as offer:
                rest = self._head_without_offer() + rest[offer.args[0] :]
            except httptools.HttpParserError:
                rest = b""
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
        if self._head_timer is not None:  # A head is not whole yet.
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and self._may_refuse:
                self._refuse(APIError("The request's headers are too large.", status=431, code="request_too_large"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._cancel_timers()
        self._start_head_timer()

    def on_headers_complete(self) -> None:
        self._cancel_timers()
        if self._offers_upgrade:
            return
        super().on_headers_complete()
        self._cycles = [*(cycle for cycle in self._cycles if not cycle.response_complete), self.cycle]
        if 0 < len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()  # Else nobody would notice that the client has left.
        if self.scope.get("http_version") == "1.0":
            self.cycle.__class__ = _CycleWithoutChunks

    def on_body(self, body: bytes) -> None:
        if not self._offers_upgrade:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offers_upgrade:
            return
        super().on_message_complete()
        if self._may_refuse:  # Its response was there before the rest of it.
            self._cancel_timers()
            self._start_keep_alive_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._may_refuse and self.cycle.more_body and not self.transport.is_closing():
            # uvicorn's own timer ends at the body's next byte, and would not begin again.
            self._unset_keepalive_if_required()
            self._body_timer = self.loop.call_later(self.timeout, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        self._refuse(APIError(msg, code="invalid_http"))

    @property
    def _offers_upgrade(self) -> bool:
        """Whether the head that is here offers another protocol: then the parser reads no body after it."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        """The head that is here as if it had come without its offer, for a new parser."""
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn does.
        return b"".join([*head, b"\r\n"])

    @property
    def _may_refuse(self) -> bool:
        """Whether no response is under way, into which a refusal would be written."""
        return self.cycle is None or self.cycle.response_complete

    def _start_keep_alive_timer(self) -> None:
        self._unset_keepalive_if_required()
        handler = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, handler)

    def _start_head_timer(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.timeout, self._on_head_timeout)

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._body_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = None
        self._body_timer = None

    def _on_head_timeout(self) -> None:
        if not self._may_refuse:
            self._start_head_timer()
        elif self._head_bytes:
            message = f"The request's headers did not arrive within {self.timeout:g} s."
            self._refuse(APIError(message, status=408, code="request_timeout"))
        else:
            self.transport.close()

    def _refuse(self, error: APIError) -> None:
        self._cancel_timers()
        body = msgspec.json.encode(error_body(error))
        head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


class _CycleWithoutChunks(RequestResponseCycle):
    """One response to a client of HTTP/1.0: where its length is not known, it ends with the connection (RFC 9112)."""

    _has_length = False

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self.chunked_encoding = None if self._has_length else False
        elif message["type"] == "http.response.body" and not self._has_length:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def protocol_with_timeout(seconds: float) -> type[Protocol]:
    """The protocol with that timeout: uvicorn wants a class."""
    return type("ProtocolWithTimeout", (Protocol,), {"timeout": seconds})
