"""HTTP itself is uvicorn's; here are the limits that it lacks, and its refusals in the API's own form."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engineroom.errors import APIError
from engineroom.openai.errors import error_body

_LARGEST_HEAD = 256 * 1024
"""Bytes of a request's line and headers; several times what browsers and proxies send at most."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, on which a client that sends no whole request head in time, or one without end, is refused.

    A connection between two requests is uvicorn's business: it closes one that is idle for five seconds.
    """

    patience: ClassVar[float] = 60
    """Seconds from a connection's or a request's beginning until its head must be there."""

    _late: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._late is not None:  # Its head is not whole yet.
            self._head += len(data)
            if self._head > _LARGEST_HEAD and self._free:
                self._refuse(APIError("The request's headers are too large.", status=431, code="request_too_large"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._came()
        self._expect()

    def on_headers_complete(self) -> None:
        self._came()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(APIError(msg, code="invalid_http"))

    @property
    def _free(self) -> bool:
        """Whether no answer is under way, into which a refusal would be written."""
        return self.cycle is None or self.cycle.response_complete

    def _expect(self) -> None:
        self._head = 0
        self._late = self.loop.call_later(self.patience, self._too_late)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        if not self._free:
            self._expect()
        elif self._head:
            said = f"The request's headers did not arrive within {self.patience:g} s."
            self._refuse(APIError(said, status=408, code="request_timeout"))
        else:
            self.transport.close()

    def _refuse(self, error: APIError) -> None:
        self._came()
        body = msgspec.json.encode(error_body(error))
        head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def patient(seconds: float) -> type[Protocol]:
    """The protocol with that patience: uvicorn wants a class."""
    return type("Patient", (Protocol,), {"patience": seconds})
