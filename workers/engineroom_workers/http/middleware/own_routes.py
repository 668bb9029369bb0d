"""Where the door's own routes leave the way to the engine."""

from __future__ import annotations

from engineroom.asgi import ASGIApp, Receive, Scope, Send

from ..routes import health_routes, metrics_routes
from .base import Middleware, Resources


class OwnRoutesMiddleware(Middleware):
    """Answers the door's own routes; all else goes on. There are no metrics without METRICS, no page without PAGE."""

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self.serve(scope, receive, send)
        else:
            await route.handle(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
