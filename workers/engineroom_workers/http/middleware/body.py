"""Reads each request whole before anything is decided about it, within a time limit."""

from __future__ import annotations

import asyncio

from engineroom.asgi import ASGIApp, ClientDisconnected, Receive, Scope, Send, header
from engineroom.errors import APIError
from engineroom.openai.body import read_request

from .base import Refusing


class Reader(Refusing):
    """Refuses with a 408 what does not arrive in time, so that a client that stalls holds nothing for long, and with
    a 415 what is compressed.

    Args:
        max_body: largest body in bytes.
        timeout: seconds from the headers to the body's end.
    """

    def __init__(self, app: ASGIApp, max_body: int, timeout: float) -> None:
        super().__init__(app)
        self._max_body = max_body
        self._timeout = timeout

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (encoding := header(scope, b"content-encoding") or b"identity").lower() != b"identity":
            said = encoding.decode("latin-1")
            raise APIError(
                f"Bodies are taken as they are, without content-encoding ({said!r}).",
                status=415,
                code="unsupported_content_encoding",
            )
        try:
            await asyncio.wait_for(read_request(scope, receive, self._max_body), self._timeout)
        except ClientDisconnected:
            return
        except asyncio.TimeoutError:
            raise APIError(
                f"The request's body did not arrive within {self._timeout:g} s.", status=408, code="request_timeout"
            ) from None
        await self.app(scope, receive, send)
