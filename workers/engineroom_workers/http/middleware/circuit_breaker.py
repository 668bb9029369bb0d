"""A circuit breaker in front of the engine: while it fails, requests are refused at once instead of waiting for it."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, at_head
from engineroom.breaker import Breaker
from engineroom.errors import APIError

from .base import ErrorMiddleware, Gauge, Resources

if TYPE_CHECKING:
    from ..options import Options

_FAILURES = frozenset({500, 502, 504})
"""Statuses that say that the engine fails. A 503 says that it is loading, stopping or busy, one under 400 that it
works. All others are a client's mistake, which may have been refused without the engine, and say nothing about it."""


class CircuitBreakerMiddleware(ErrorMiddleware):
    """Refuses with a 503 while the breaker is open: after BREAKER_FAILURES in a row, for BREAKER_REST seconds."""

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        watch = resources.options.watch
        self._breaker = Breaker(watch.breaker_failures, watch.breaker_rest)

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return bool(options.watch.breaker_failures)

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

        def send_head(message: Message) -> Awaitable[None]:
            nonlocal status
            status = message["status"]
            if status < 400:
                self._breaker.succeeded()
            return send(message)

        await self.app(scope, receive, at_head(send, send_head))
        if status in _FAILURES:
            self._breaker.failed()

    def state(self) -> dict[str, Any]:
        return {"breaker": self._breaker.state}

    def gauges(self) -> list[Gauge]:
        breaker = self._breaker
        return [Gauge("breaker_open", "1 while requests are refused at once.", lambda: breaker.state == "open")]
