"""The door's own routes for platforms and people that watch it: `/ping`, `/health` and the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from engineroom.asgi import Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response
from engineroom.pool_gauges import PoolGauges

if TYPE_CHECKING:
    from .middleware.base import Resources


def health_routes(resources: Resources) -> list[Route]:
    """`/ping` and `/health`.

    `/ping` answers as RunPod's load balancer asks: 204 while the engine loads, 200 when it is ready, 503 once it is
    dead, and while it does not respond: a worker that answers so gets no more requests. A door that drains is as one
    that loads: alive, and to get no requests. `/health` says live, ready and why, and what the layers are at, with 200
    when ready and 503 when not.
    """
    engine = resources.engine
    lifecycle = resources.lifecycle

    async def ping(request: Request) -> Response:
        health = engine.health()
        if health.ready and not lifecycle.draining:
            return PlainTextResponse("ready")
        if health.live and not health.hung:
            return Response(status_code=204)
        return PlainTextResponse(health.reason, status_code=503)

    async def health(request: Request) -> Response:
        report = _report(resources)
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    return [OwnRoute("/ping", ping), OwnRoute("/health", health)]


def metrics_routes(resources: Resources) -> list[Route]:
    """`/metrics`, Prometheus' text with the engine's own metrics and the gauges of pools, and `/metrics.json`, with
    counts and percentiles.

    `/metrics` gives the JSON, too, to who asks for JSON and for no text.
    """
    from .metrics.child_processes import ChildProcesses
    from .metrics.gpus import GPUs

    engine = resources.engine
    metrics = resources.metrics
    gpus = GPUs()
    gauges = PoolGauges()

    async def prometheus(request: Request) -> Response:
        if _wants_json(request.headers.get("accept", "")):
            return await as_json(request)
        gpus_text = await gpus.text()
        scrape = await engine.scrape()
        # All at one moment, so that requests that wait and requests that run are those of the clients.
        text = metrics.text() + ChildProcesses.read().text() + gpus_text + gauges.text(scrape, metrics.running)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers={"vary": "accept"})

    async def as_json(request: Request) -> Response:
        processes = ChildProcesses.read()
        report = _report(resources) | metrics.summary()
        report["engine_processes"] = processes.engine.report()
        report["door_processes"] = processes.doors.report()
        report["gpus"] = await gpus.read()
        report["takes_images"] = engine.capabilities.images
        return JSONResponse(report, headers={"vary": "accept"})

    return [OwnRoute("/metrics", prometheus), OwnRoute("/metrics.json", as_json)]


def _wants_json(accept: str) -> bool:
    """Whether a client asks for JSON alone. Prometheus names the text formats that it takes, before all else."""
    return "application/json" in accept and "text" not in accept


def _report(resources: Resources) -> dict[str, Any]:
    """What `/health` says."""
    return {**resources.engine.report(), **resources.state()}


class OwnRoute(Route):
    """Starlette's, but it refuses a wrong method in the API's own form."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            allowed = sorted(self.methods)
            error = APIError(
                f"Not allowed to {scope['method']} on {scope['path']}: {', '.join(allowed)}.",
                status=405,
                code="method_not_supported",
                allow=allowed,
            )
            await error_response(send, scope, error)
            return
        await super().handle(scope, receive, send)
