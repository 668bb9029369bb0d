"""A breaker in front of the engine: while it fails, requests are refused at once instead of waiting for it."""

from __future__ import annotations

import math

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send
from engineroom.breaker import Breaker
from engineroom.errors import APIError

from .base import Refusing

_FAILURES = frozenset({500, 502, 504})
"""What says that the engine fails. A 503 says that it is loading, stopping or busy; what is below 400, that it works.
All else is a client's mistake, which may have been refused without the engine, and says nothing about it."""


class Tripping(Refusing):
    """Refuses with a 503 while the breaker is open."""

    def __init__(self, app: ASGIApp, breaker: Breaker) -> None:
        super().__init__(app)
        self._breaker = breaker

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        if not self._breaker.allow():
            raise APIError(
                "The engine failed several times in a row; requests are refused for a while. Please try again later.",
                status=503,
                code="engine_failing",
                retry_after=max(1, math.ceil(self._breaker.wait)),
            )
        status = 0

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status < 400:
                    self._breaker.succeeded()
            await send(message)

        await self.app(scope, receive, watching)
        if status in _FAILURES:
            self._breaker.failed()
