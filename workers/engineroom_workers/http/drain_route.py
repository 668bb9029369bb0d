"""`/drain`, by which an operator takes a worker out of service without ending it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engineroom.errors import APIError
from engineroom.openai.errors import error_body

from .operator_routes import operator_refusal
from .routes import OwnRoute

if TYPE_CHECKING:
    from .middleware.base import Resources

logger = logging.getLogger(__name__)

_TOO_LATE = "The process is about to end, and takes no more requests."


def drain_route(resources: Resources) -> Route:
    """`POST /drain` begins what a SIGTERM begins, and leaves the process running; `DELETE /drain` takes it back.

    Both are for operators alone, as loading a model is, and may be sent any number of times.
    """
    lifecycle = resources.lifecycle
    options = resources.options

    async def drain(request: Request) -> Response:
        error = operator_refusal(request.scope, options.locked)
        if error is not None:
            return _refused(error)
        if request.method == "POST":
            if not lifecycle.draining:
                logger.info("draining, as an operator asks; DELETE /drain takes it back")
            lifecycle.drain()
        elif not lifecycle.resume():
            return _refused(APIError(_TOO_LATE, status=409, code="shutting_down"))
        else:
            logger.info("taking requests, as an operator asks")
        left = lifecycle.lame_duck_left if lifecycle.draining else 0
        state: dict[str, Any] = {"draining": lifecycle.draining, "lame_duck_s": round(left, 1)}
        if options.observe.metrics:
            state["running"] = resources.metrics.running
        return JSONResponse(state)

    return OwnRoute("/drain", drain, methods=["POST", "DELETE"])


def _refused(error: APIError) -> Response:
    return JSONResponse(error_body(error), status_code=error.status)
