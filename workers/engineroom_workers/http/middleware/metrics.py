"""Measures each request and its response as they go by."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from engineroom.asgi import PIECES, ASGIApp, Message, Receive, Scope, Send, header
from engineroom.openai.usage import TokenUsage, get_usage

from .base import Gauge, Middleware, Resources
from .context import CLIENT_CLOSED_REQUEST, RequestContext, get_context

if TYPE_CHECKING:
    from ..metrics.registry import MetricsRegistry, StreamTimer, TokenCounter
    from ..options import Options


_FROM_CACHE = ("hit", "collapsed")
"""What the cache says of answers that the engine did not give to this request."""

_COUNT_INTERVAL_S = 0.1
"""How often a stream's tokens reach the counters while it runs. Each time costs about a microsecond, as much as all
else that is done here for a piece of a stream."""


class MetricsMiddleware(Middleware):
    """Counts requests, their times and their tokens.

    Tokens count while a response streams, not at its end: the counter of an engine that generates for a minute moves
    for a minute.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._engine = resources.engine
        self._metrics = resources.metrics

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.observe.metrics

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = get_context(scope)
        response = _MeasuredResponse(self._metrics, context, get_usage(scope), send)
        self._metrics.request_started()
        try:
            await self.app(scope, receive, response.send)
        finally:
            response.count_tokens()
            self._note_end(context)

    def _note_end(self, context: RequestContext) -> None:
        status = context.status or CLIENT_CLOSED_REQUEST
        seconds = time.perf_counter() - context.started
        cached = context.cache in _FROM_CACHE
        self._metrics.request_finished(context.route, status, context.model, context.key.name, seconds, cached)
        if context.queued:
            self._metrics.request_queued(context.queued)
        if context.cache:
            self._metrics.cache_asked(context.cache)

    def gauges(self) -> list[Gauge]:
        engine = self._engine
        return [
            Gauge("engine_ready", "1 if the engine is ready.", lambda: engine.health().ready),
            Gauge("engine_hangs", "How often the engine has stopped responding so far.", lambda: engine.hangs),
        ]


class _MeasuredResponse:
    """One response on its way to the client."""

    __slots__ = ("_context", "_counter", "_metrics", "_next_count", "_send", "_timer", "_usage")

    def __init__(self, metrics: MetricsRegistry, context: RequestContext, usage: TokenUsage, send: Send) -> None:
        self._metrics = metrics
        self._context = context
        self._usage = usage
        self._timer: StreamTimer | None = None
        self._counter: TokenCounter | None = None
        self._next_count = 0.0
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Measure a message, and pass it on. It is on the path of every token, and no coroutine: that is cheaper."""
        if self._timer is not None:
            pieces = message.get(PIECES)
            now = self._timer.add(message.get("body", b"")) if pieces is None else self._timer.add_pieces(pieces)
            if now >= self._next_count:
                self._next_count = now + _COUNT_INTERVAL_S
                self.count_tokens()
        elif message["type"] == "http.response.start":
            context = self._context
            is_stream = (header(message, b"content-type") or b"").startswith(b"text/event-stream")
            if is_stream and context.cache not in _FROM_CACHE:
                self._timer = self._metrics.time_stream(context.route, context.model, context.started)
        return self._send(message)

    def count_tokens(self) -> None:
        """Count the tokens that have come since the last call.

        Nothing generates what comes out of the cache, so it does not count.
        """
        context = self._context
        usage = self._usage
        if not (usage.prompt_tokens or usage.completion_tokens) or context.cache in _FROM_CACHE:
            return
        if self._counter is None:
            self._counter = self._metrics.token_counter(context.model, context.key.name)
        self._counter.update(usage.prompt_tokens, usage.completion_tokens)
