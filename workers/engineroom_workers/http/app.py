"""The door's own routes; all else is the engine's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp

    from .metrics import DoorMetrics
    from .served import Served


def build_app(engine: Served, inner: ASGIApp, metrics: DoorMetrics, state: Callable[[], dict[str, Any]]) -> Router:
    """The ASGI app behind the socket; what is not its own goes to `inner`.

    `state` says what the door's layers are at.

    `/ping` answers as RunPod's load balancer asks: 204 while loading, 200 when ready, 503 once dead.
    `/health` says live, ready and why, with 200 when ready and 503 when not; `/metrics` is Prometheus' text.
    """

    async def ping(request: Request) -> Response:
        health = engine.health()
        if health.ready:
            return PlainTextResponse("ready")
        return Response(status_code=204) if health.live else PlainTextResponse(health.reason, status_code=503)

    async def health(request: Request) -> Response:
        now = engine.health()
        body = {
            "live": now.live,
            "ready": now.ready,
            "reason": now.reason,
            "engine": engine.name,
            "models": list(engine.models),
            "timeline": [{"phase": phase, "seconds": round(seconds, 3)} for phase, seconds in engine.timeline.marks],
            **state(),
        }
        return JSONResponse(body, status_code=200 if now.ready else 503)

    async def prometheus(request: Request) -> Response:
        text = metrics.text() + await engine.metrics()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return Router(
        [Route("/ping", ping), Route("/health", health), Route("/metrics", prometheus)],
        default=metrics.count(inner),
        redirect_slashes=False,
    )
