"""The routes of an engine for whoever runs the worker: past the door's limits, and not for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from engineroom.asgi import Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from .middleware.context import get_context
from .this_machine import by_its_own_programs

if TYPE_CHECKING:
    from .middleware.base import Resources


class OperatorRoutes:
    """Hands requests for `RunningEngine.operator_routes` to the engine at once: an operator does not queue behind those
    whose models are to be loaded, and a load that fails is nothing to the circuit breaker.

    To look each key will do, as for the metrics; to change anything it has to be an operator's. Without keys everybody
    may look, and only programs on this machine may change anything.
    """

    def __init__(self, resources: Resources) -> None:
        self._app = resources.engine.app
        self._routes = resources.engine.operator_routes
        self._locked = resources.options.locked

    def serves(self, scope: Scope) -> bool:
        """Whether a request is for one of them; a path that is wholly theirs is, with any method."""
        path = scope["path"]
        routes = [route for route in self._routes if route.matches(path)]
        return any(route.method == scope["method"] or route.path == path for route in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = None if scope["method"] == "GET" else operator_refusal(scope, self._locked)
        if error is not None:
            await error_response(send, scope, error)
        else:
            await self._app(scope, receive, send)


def operator_refusal(scope: Scope, locked: bool) -> APIError | None:
    """Why whoever asks may not change anything; None for an operator.

    Args:
        locked: whether clients need a key.
    """
    if locked:
        key = get_context(scope).key
        if key.operator:
            return None
        reason = f"the key {key.name} is not an operator's (`operator: true` in API_KEYS_FILE)"
    elif by_its_own_programs(Request(scope)):
        return None
    else:
        reason = (
            "without keys it is only for programs on the server's own machine, and this request came from "
            "elsewhere. Start the server with API_KEYS, and send one of them"
        )
    message = f"{scope['method']} {scope['path']} is for operators: {reason}."
    return APIError(message, status=403, code="operators_only")
