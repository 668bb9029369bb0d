"""The outermost layer: gives each request its id, measures it, and logs it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, header
from engineroom.openai.body import KEY, Request

from ..context import OWN, RequestContext, get_context

if TYPE_CHECKING:
    from engineroom.engine import RunningEngine

    from ..metrics.registry import Meter, StreamMeter
    from .access_log import AccessLog

_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens)":\s*(\d+)')
_COMPLETION = re.compile(rb'"(?:completion_tokens|output_tokens)":\s*(\d+)')
_OTHER = "other"
_NOT_TOKENS = 2
"""Events of a stream that are no token: the one with the role, the one with the finish reason."""


class Observed:
    """Watches requests for the engine's routes go by. The engine gets the same `x-request-id` as the client."""

    def __init__(self, app: ASGIApp, served: RunningEngine, meter: Meter, log: AccessLog | None) -> None:
        self._app = app
        self._served = served
        self._meter = meter
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OWN:
            await self._app(scope, receive, send)
            return
        call, route = get_context(scope), self._route(scope["path"])
        watch = _Watch(self, scope, call, route, send)
        call.settle = watch.count_tokens
        self._meter.came()
        try:
            await self._app(scope, receive, watch.send)
        finally:
            now = time.perf_counter()
            self.name_model(scope, call, route)
            watch.count_tokens()
            self._meter.answered(call, route, watch.status or 499, now)
            self._served.timeline.mark("first request")
            if self._log is not None:
                self._log.write(scope, call, watch.status or 499, now)

    def name_model(self, scope: Scope, call: RequestContext, route: str) -> None:
        """Put the model into the call, if the request names one that is served; the first where it names none."""
        request: Request | None = scope.get(KEY)
        if request is None or request.json is None or route == _OTHER:
            return
        named = request.json.get("model") or next(iter(self._served.models), None)
        if isinstance(named, str) and self._served.knows_model(named):
            call.model = named

    def stream(self, route: str, model: str) -> StreamMeter:
        return self._meter.stream(route, model)

    def _route(self, path: str) -> str:
        """A known route's path, so that what clients invent makes no new time series."""
        return next((route.path for route in self._served.routes if route.matches(path)), _OTHER)


class _Watch:
    """One answer going by."""

    def __init__(self, layer: Observed, scope: Scope, call: RequestContext, route: str, send: Send) -> None:
        self._layer, self._scope, self._call, self._route = layer, scope, call, route
        self._send = send
        self._stream: StreamMeter | None = None
        self._end = b""
        self.send: Send = self._watch
        self.status = 0

    async def _watch(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            if body := message.get("body", b""):
                if self._stream is None:
                    self._end = body
                else:
                    self._stream.piece(body, self._call.started)
                    # The usage comes last, but not in the very last piece.
                    self._end = body if len(body) > 2048 else (self._end + body)[-2048:]
        else:
            message = self._start(message)
        await self._send(message)

    def _start(self, message: Message) -> Message:
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"x-request-id", self._call.id.encode())]
        message = {**message, "headers": headers}
        if (header(message, b"content-type") or b"").startswith(b"text/event-stream"):
            self._layer.name_model(self._scope, self._call, self._route)
            self._stream = self._layer.stream(self._route, self._call.model)
        return message

    def count_tokens(self) -> None:
        """Put the numbers of tokens into the call: as the answer tells them, else as many as it had events.

        Of a stream whose client did not ask for its usage `StreamUsage` has put them there already.
        """
        if self._call.prompt_tokens:
            return
        usage = self._end[max(0, self._end.rfind(b'"usage":')) :]
        prompt, completion = _PROMPT.search(usage), _COMPLETION.search(usage)
        if prompt is not None:
            self._call.prompt_tokens = int(prompt[1])
        if completion is not None:
            self._call.completion_tokens = int(completion[1])
        elif self._stream is not None:
            self._call.completion_tokens = max(0, self._stream.events - _NOT_TOKENS)
