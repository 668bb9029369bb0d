"""What the door counts itself: requests, how long they take, and when their first byte goes out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send

    from .served import Served

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class DoorMetrics:
    """Counts around an engine's app; per request, so that a streamed token costs nothing here."""

    def __init__(self, engine: Served) -> None:
        self._engine = engine
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "engineroom_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._running = Gauge("engineroom_requests_running", "Requests being served now.", registry=self._registry)
        self._seconds = Histogram(
            "engineroom_request_seconds",
            "Seconds from a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_byte = Histogram(
            "engineroom_first_byte_seconds",
            "Seconds from a request to the first byte of its body; of a stream, the time to first token (TTFT).",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry).decode()

    def count(self, app: ASGIApp) -> ASGIApp:
        """`app`, its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            first = _FirstByte(send)
            started = time.perf_counter()
            self._running.inc()
            try:
                await app(scope, receive, first.send)
            finally:
                ended = time.perf_counter()
                self._running.dec()
                self._engine.timeline.mark("first request")
                route = self._route(scope["path"])
                # nginx's code for a client that closed the connection before it had an answer.
                self._requests.labels(route, str(first.status or 499)).inc()
                self._seconds.labels(route).observe(ended - started)
                if first.at:
                    self._first_byte.labels(route).observe(first.at - started)

        return counted

    def _route(self, path: str) -> str:
        """A known route's path, so that what clients invent makes no new time series."""
        known = {route.path for route in self._engine.routes}
        return path if path in known else "other"


class _FirstByte:
    """Passes messages on, remembering the status and when the body began."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.send: Send = self._watch
        self.status = 0
        self.at = 0.0

    async def _watch(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not self.at:
            self.at = time.perf_counter()
        await self._send(message)
