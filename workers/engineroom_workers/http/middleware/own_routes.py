"""Where the door's own routes leave the way to the engine."""

from __future__ import annotations

from engineroom.asgi import ASGIApp, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from ..routes import health_routes, metrics_routes
from .base import Middleware, Resources


class OwnRoutesMiddleware(Middleware):
    """Answers the door's own routes; all else goes on. There are no metrics without METRICS, no page without PAGE.

    A slip of such a route, which no engine serves, gets a 404 that names it.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        observe = resources.options.observe
        routes = health_routes(resources)
        if observe.metrics:
            routes += metrics_routes(resources)
        if observe.page:
            from ..page import page_routes

            routes += page_routes(resources.engine_type, resources.env)
        self._routes = {route.path: route for route in routes}
        self._slips = {
            slip: path for path in self._routes if path != "/" for slip in (f"{path}/", f"/{path}", f"/v1{path}")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path in self._routes:
            await self._routes[path].handle(scope, receive, send)
        elif path in self._slips:
            message = f"Invalid URL ({scope['method']} {path}). Did you mean {self._slips[path]}?"
            await error_response(send, scope, APIError(message, status=404))
        else:
            await self.serve(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
