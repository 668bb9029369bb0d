"""What the door knows of one request, and the outermost layer, which begins it with an id and a route."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field

from engineroom.asgi import ASGIApp, Headers, Message, Receive, Scope, Send, at_head
from engineroom.engine import Route

from ..keys import APIKey
from .base import Middleware, Resources

OTHER_ROUTE = "other"
"""The route of a request for something that the engine does not serve."""
CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left before it had a response."""

_CONTEXT = "engineroom.context"
_MAX_ID_LENGTH = 128


ANONYMOUS = APIKey(name="anonymous")
"""Everybody, where no keys are in use."""


@dataclass(slots=True)
class RequestContext:
    """One request. Its tokens are in `engineroom.openai.usage.get_usage(scope)`.

    id: the client's `x-request-id`, or one of ours.
    key: whose request it is.
    route: the path of the engine's route that it asks for, or `OTHER_ROUTE`.
    model: the served model that it asks for; empty where it names another one, or its body has not been read.
    started: when it arrived, by `time.perf_counter`.
    queued: seconds it waited for a permit to run.
    cache: `hit`, `miss`, `collapsed` or `bypass`; empty where there is no cache.
    status: the response's HTTP status; 0 until the response starts. A stream that had started before its request failed
        has the status of that failure in the end.
    headers: what layers add to the response's headers. They are here, not in the response of a layer further in, since
        a stream's headers may go out while that layer still waits for one.
    """

    id: str
    key: APIKey = ANONYMOUS
    route: str = OTHER_ROUTE
    model: str = ""
    started: float = field(default_factory=time.perf_counter)
    queued: float = 0.0
    cache: str = ""
    status: int = 0
    headers: Headers = field(default_factory=list)


def get_context(scope: Scope) -> RequestContext:
    """The context of the scope's request, made now where there is none. The engine gets its id as `x-request-id`."""
    context: RequestContext | None = scope.get(_CONTEXT)
    if context is None:
        context = scope[_CONTEXT] = RequestContext(_request_id(scope))
    return context


def _request_id(scope: Scope) -> str:
    """The client's id if it is usable, else a new one; afterwards the scope's headers have just this one."""
    ids = [value for name, value in scope["headers"] if name == b"x-request-id"]
    usable = bool(ids) and _is_usable_id(ids[0])
    request_id = ids[0].decode() if usable else f"req_{os.urandom(16).hex()}"
    if not usable or len(ids) > 1:
        others = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
        scope["headers"] = [*others, (b"x-request-id", request_id.encode())]
    return request_id


def _is_usable_id(value: bytes) -> bool:
    return 0 < len(value) <= _MAX_ID_LENGTH and value.isascii() and value.decode("ascii").isprintable()


class RequestContextMiddleware(Middleware):
    """Begins each request's context, and notes the response's status there for all layers within.

    Client, logs, metrics and engine know a request by the same `x-request-id`.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._engine = resources.engine
        self._first = True

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = get_context(scope)
        context.route = self._route(scope["path"])

        def send_head(message: Message) -> Awaitable[None]:
            context.status = message["status"]
            own = [*context.headers, (b"x-request-id", context.id.encode())]
            return send({**message, "headers": [*message.get("headers", ()), *own]})

        try:
            await self.app(scope, receive, at_head(send, send_head))
        finally:
            if self._first:
                self._first = False
                self._engine.timeline.mark("first request")

    def _route(self, path: str) -> str:
        """A known route's path, so that what clients invent makes no new time series."""
        routes = self._engine.served_routes
        if Route("POST", path) in routes:
            return path
        return next((route.path for route in routes if route.matches(path)), OTHER_ROUTE)
