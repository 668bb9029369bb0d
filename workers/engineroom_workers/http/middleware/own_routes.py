"""Where the door's own routes leave the way to the engine."""

from __future__ import annotations

from engineroom.asgi import ASGIApp, Receive, Scope, Send, header
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from ..drain_route import drain_route
from ..operator_routes import OperatorRoutes
from ..page import page_off, page_routes
from ..probes import probe_routes
from ..routes import health_routes, metrics_routes
from .base import Middleware, Resources
from .context import get_context

_MODELS = "/v1/models"
_CLOSE = (b"connection", b"close")
_RETRY_AFTER_S = 1
"""When a client whose request was refused may try again: another worker may have its place already."""


class OwnRoutesMiddleware(Middleware):
    """Answers the door's own routes; all else goes on. There are no metrics without METRICS.

    A slip of such a route, which no engine serves, gets a 404 that names it. `POST /v1/models`, by which clients of
    max-serve-llama ask for the models, is served as the GET that OpenAI's clients send. What is for operators goes to
    the engine at once.

    What goes on is for the engine. A door that drains lets it through with a response that ends its connection, so that
    the client's next request goes elsewhere, and refuses it once the time of the lame duck is over.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._lifecycle = resources.lifecycle
        routes = [*health_routes(resources), *probe_routes(resources), drain_route(resources)]
        if resources.options.observe.metrics:
            routes += metrics_routes(resources)
        routes += page_routes(resources) if resources.options.page else [page_off()]
        self._routes = {route.path: route for route in routes}
        self._operators = OperatorRoutes(resources) if resources.engine.operator_routes else None
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
        elif path == _MODELS and scope["method"] == "POST":
            await self.serve({**scope, "method": "GET"}, receive, send)
        elif self._operators is not None and path and self._operators.serves(scope):
            await self._operators(scope, receive, send)
        else:
            await self.serve(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._lifecycle.draining:
            if self._lifecycle.refuses:
                await _read_rest(scope, receive)
                message = "The server is draining, and takes no more requests. Another may have taken its place."
                error = APIError(message, status=503, code="draining", retry_after=_RETRY_AFTER_S)
                await error_response(send, scope, error, [_CLOSE])
                return
            get_context(scope).headers.append(_CLOSE)
        await self.app(scope, receive, send)


async def _read_rest(scope: Scope, receive: Receive) -> None:
    """Let the client send what it has begun to send, and keep nothing of it: a connection that is closed amid that is
    broken for the client, which then never reads why. One that asks first (`Expect: 100-continue`) has sent nothing."""
    if header(scope, b"expect") is not None:
        return
    try:
        while (await receive()).get("more_body"):
            pass
    except APIError:
        pass  # It did not come in time, or there is no room for more of it.
