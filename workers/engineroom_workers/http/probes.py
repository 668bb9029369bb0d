"""The probes that Kubernetes asks: `/livez`, `/readyz` and `/startupz`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engineroom.timeline import process_age

from .routes import OwnRoute

if TYPE_CHECKING:
    from engineroom.engine import RunningEngine

    from .middleware.base import Resources


def probe_routes(resources: Resources) -> list[Route]:
    """The three, each with 200 or 503 and JSON that says why.

    They answer from what the door knows already, and ask the engine nothing: its answer may take as long as it likes.

    * `/livez` fails once the engine is dead for good. While it loads, is started again, or does not respond, the
      process is worth keeping: the door itself replaces such an engine, or ends.
    * `/readyz` fails whenever the worker should get no requests.
    * `/startupz` fails until the engine is ready for the first time.
    """
    engine = resources.engine
    lifecycle = resources.lifecycle

    async def livez(request: Request) -> Response:
        health = engine.health()
        return _answer(health.live, {"live": health.live, "reason": health.reason})

    async def readyz(request: Request) -> Response:
        health = engine.health()
        ready = health.ready and not lifecycle.draining
        reason = lifecycle.reason if health.ready and lifecycle.draining else health.reason
        return _answer(ready, {"ready": ready, "reason": reason})

    async def startupz(request: Request) -> Response:
        return _answer(lifecycle.started, {"started": lifecycle.started, **_start(engine, lifecycle.started)})

    return [OwnRoute("/livez", livez), OwnRoute("/readyz", readyz), OwnRoute("/startupz", startupz)]


def _answer(well: bool, content: dict[str, Any]) -> Response:
    return JSONResponse(content, status_code=200 if well else 503)


def _start(engine: RunningEngine, started: bool) -> dict[str, Any]:
    """How far the start is.

    `phase`: `loading`, `downloading` or `started`; `progress`: of a download, in bytes; `seconds`: since the process
    was started, until now or until the engine was ready; `timeline`: the phases that have ended.
    """
    timeline = engine.timeline
    marks = timeline.marks
    download = timeline.progress
    progress = None
    if started:
        phase = "started"
    elif download is not None:
        phase = "downloading"
        progress = {"what": download.what, "done": download.done, "total": download.total}
    else:
        phase = "loading"
    ready_at = next((seconds for name, seconds in marks if name == "engine ready"), None)
    seconds = ready_at if started and ready_at is not None else process_age()
    return {
        "phase": phase,
        "reason": engine.health().reason,
        "progress": progress,
        "seconds": round(seconds, 3),
        "timeline": [{"phase": name, "seconds": round(at, 3)} for name, at in marks],
    }
