"""The door's own routes; all else is the engine's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from engineroom.asgi import Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from .middleware.base import with_headers

if TYPE_CHECKING:
    from starlette.routing import Route

    from engineroom.asgi import ASGIApp
    from engineroom.engine import Health, RunningEngine

    from .metrics.registry import Meter


def build_app(
    engine: RunningEngine,
    inner: ASGIApp,
    meter: Meter | None,
    state: Callable[[], dict[str, Any]],
    more: Sequence[Route] = (),
) -> Router:
    """The ASGI app behind the keys; what is not its own goes to `inner`.

    `/ping` answers as RunPod's load balancer asks: 204 while loading, 200 when ready, 503 once dead.
    `/health` says live, ready and why, with 200 when ready and 503 when not. `/metrics` is Prometheus' text, the
    engine's own metrics included; `/metrics.json` has counts and percentiles. Without a `meter` there are neither.

    `state` says what the door's layers are at; `more` are further routes.
    """

    async def ping(request: Request) -> Response:
        health = engine.health()
        if health.ready:
            return PlainTextResponse("ready")
        return Response(status_code=204) if health.live else PlainTextResponse(health.reason, status_code=503)

    def look() -> tuple[Health, dict[str, Any]]:
        now = engine.health()
        return now, {
            "live": now.live,
            "ready": now.ready,
            "reason": now.reason,
            "engine": engine.name,
            "models": list(engine.models),
            "timeline": [{"phase": phase, "seconds": round(seconds, 3)} for phase, seconds in engine.timeline.marks],
            **state(),
        }

    async def health(request: Request) -> Response:
        now, body = look()
        return JSONResponse(body, status_code=200 if now.ready else 503)

    routes: list[Route] = [OwnRoute("/ping", ping), OwnRoute("/health", health), *more]
    if meter is not None:
        routes += _metrics(engine, meter, look)
    return Router(routes, default=inner, redirect_slashes=False)


def _metrics(engine: RunningEngine, meter: Meter, look: Callable[[], tuple[Health, dict[str, Any]]]) -> list[Route]:
    from .metrics.engine_processes import family
    from .metrics.gpus import GPUs

    gpus = GPUs()

    async def prometheus(request: Request) -> Response:
        text = meter.text() + family().text() + await gpus.text() + await engine.metrics()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def as_json(request: Request) -> Response:
        below = family()
        below_told = {"processes": below.processes, "cpu_s": below.cpu, "memory_mb": round(below.memory / 1e6, 1)}
        return JSONResponse({**look()[1], **meter.summary(), "engine_processes": below_told, "gpus": await gpus.read()})

    return [OwnRoute("/metrics", prometheus), OwnRoute("/metrics.json", as_json)]


class OwnRoute(Route):
    """Starlette's, but a wrong method is told in the API's own form."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            allowed = ", ".join(sorted(self.methods))
            error = APIError(
                f"Not allowed to {scope['method']} on {scope['path']}: {allowed}.",
                status=405,
                code="method_not_supported",
            )
            await error_response(with_headers(send, [(b"allow", allowed.encode())]), scope, error)
            return
        await super().handle(scope, receive, send)
