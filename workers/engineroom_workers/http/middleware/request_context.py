"""The outermost layer: gives each request its id and its route, and the response the same id."""

from __future__ import annotations

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send

from ..context import OTHER_ROUTE, get_context
from .base import Middleware, Resources


class RequestContextMiddleware(Middleware):
    """Begins each request's context, and notes the response's status there for all layers within.

    Client, logs, metrics and engine know a request by the same `x-request-id`.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._engine = resources.engine

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = get_context(scope)
        context.route = self._route(scope["path"])

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", context.id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._engine.timeline.mark("first request")

    def _route(self, path: str) -> str:
        """A known route's path, so that what clients invent makes no new time series."""
        return next((route.path for route in self._engine.routes if route.matches(path)), OTHER_ROUTE)
