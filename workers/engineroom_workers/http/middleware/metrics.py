"""Measures each request and its response as they go by."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from engineroom.asgi import PIECES, ASGIApp, FastPath, Message, Receive, Scope, Send, fast_path, header
from engineroom.openai.usage import TokenUsage, count_each, get_usage

from .base import Gauge, Middleware, Resources
from .context import CLIENT_CLOSED_REQUEST, RequestContext, get_context

if TYPE_CHECKING:
    from ..metrics.registry import MetricsRegistry, StreamTimer, TokenCounter
    from ..options import Options


_FROM_CACHE = ("hit", "collapsed")
"""What the cache says of answers that the engine did not give to this request."""

_MOST_PIECES = 16
"""How many pieces of a stream are kept before they are measured: together they cost half of what each would alone, and
whoever looks at the metrics has all measured that are here."""


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
        self._metrics.request_started(response)
        try:
            await self.app(scope, receive, response.send)
        finally:
            response.catch_up()
            self._note_end(response, context)

    def _note_end(self, response: _MeasuredResponse, context: RequestContext) -> None:
        status = context.status or CLIENT_CLOSED_REQUEST
        cached = context.cache in _FROM_CACHE
        self._metrics.request_finished(
            response, context.route, status, context.model, context.key.name, context.started, cached
        )
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

    __slots__ = ("_bodies", "_context", "_counter", "_fast", "_metrics", "_send", "_timer", "_times", "_usage")

    def __init__(self, metrics: MetricsRegistry, context: RequestContext, usage: TokenUsage, send: Send) -> None:
        self._metrics = metrics
        self._context = context
        self._usage = usage
        self._timer: StreamTimer | None = None
        self._times: list[float] = []
        self._bodies: list[bytes] = []
        """The pieces of a stream that are not measured yet, and when each came."""
        self._counter: TokenCounter | None = None
        self._fast: FastPath | None = None
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Measure a message, and pass it on. It is on the path of every token, and no coroutine: that is cheaper."""
        if self._timer is not None:
            body = message.get("body", b"")
            if body:
                self._times.append(perf_counter())
                self._bodies.append(body)
                if len(self._bodies) >= _MOST_PIECES:
                    self._measure()
            elif PIECES in message:
                self._timer.add(message[PIECES])
        elif message["type"] == "http.response.start":
            context = self._context
            is_stream = (header(message, b"content-type") or b"").startswith(b"text/event-stream")
            if is_stream and context.cache not in _FROM_CACHE:
                self._timer = self._metrics.time_stream(context.route, context.model, context.started)
        return self._send(message)

    def fast_path(self) -> FastPath | None:
        """A path for pieces that are only measured here."""
        self._fast = fast_path(self._send, self) if self._timer is not None else None
        return self._fast

    def note_pieces(self, times: Sequence[float], pieces: Sequence[bytes]) -> None:
        """Measure what has passed by."""
        self._times += times
        self._bodies += pieces
        self._measure()

    def catch_up(self) -> None:
        """Measure what has been sent since the last call."""
        if self._fast is not None:
            self._fast.catch_up()
        self._measure()

    def _measure(self) -> None:
        """Measure what is kept, and count the tokens so far.

        Nothing generates what comes out of the cache, so its tokens do not count.
        """
        if self._timer is not None and self._bodies:
            self._timer.add(zip(self._times, count_each(self._bodies), strict=True))
            self._times.clear()
            self._bodies.clear()
        context = self._context
        usage = self._usage
        usage.catch_up()
        if not (usage.prompt_tokens or usage.completion_tokens) or context.cache in _FROM_CACHE:
            return
        if self._counter is None:
            self._counter = self._metrics.token_counter(context.model, context.key.name)
        self._counter.update(usage.prompt_tokens, usage.completion_tokens)
