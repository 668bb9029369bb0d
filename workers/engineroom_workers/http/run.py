"""The door's life: open, load, serve, drain, shut."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from typing import TYPE_CHECKING

from ..loading import model

if TYPE_CHECKING:
    from engineroom.engine import RunningEngine

import asyncio
import socket
from typing import TYPE_CHECKING

from engineroom.errors import EngineroomError

from ..loading import loading
from ..signals import either, stop_signals
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom.engine import RunningEngine

    from .options import Options
    from .settings import HTTPSettings
    from .stack import Stack

logger = logging.getLogger(__name__)

_DEAD_S = 10
"""How long the door still says why, once its engine is dead, before it ends with an error: long enough for a load
balancer to take it out, short enough that nobody pays for it."""


class EngineDied(EngineroomError):
    """The engine ended although nobody stopped it."""


async def run(stack: Stack, sockets: Sequence[socket.socket], options: Options) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends it at once.

    Raises:
        EngineStartError: the engine could not be started.
        EngineDied: it ended while it served.
    """
    engine = stack.engine
    url = _url(sockets[0], options.http)
    server = Server(stack.app, options.http)
    stopping = stop_signals()
    starting = asyncio.ensure_future(engine.start())
    serving = asyncio.ensure_future(server.serve(sockets=list(sockets)))
    engine.timeline.mark("listening")
    try:
        async with loading(engine):
            await either(starting, stopping[0])
        if starting.done():
            starting.result()
            engine.timeline.mark("engine ready")
            ready(engine, url)
            await _until_over(engine, stopping)
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        grace = options.door.drain_timeout if engine.health().ready else 0
        await _shut(engine, server, serving, grace, stopping[1])
        await stack.close()


async def _until_over(engine: RunningEngine, stopping: tuple[asyncio.Future[None], asyncio.Future[None]]) -> None:
    died = asyncio.ensure_future(engine.died())
    try:
        await either(died, stopping[0])
        if died.done() and not stopping[0].done():
            reason = died.result()
            logger.error("the engine is gone: %s; exiting in %d s", reason, _DEAD_S)
            await asyncio.wait({stopping[0]}, timeout=_DEAD_S)
            raise EngineDied(f"the engine is gone: {reason}")
    finally:
        died.cancel()


async def _shut(
    engine: RunningEngine, server: Server, serving: asyncio.Future[None], grace: float, hurry: asyncio.Future[None]
) -> None:
    """Close the sockets, give running requests `grace` seconds, then end them by stopping the engine."""
    server.should_exit = True
    running = len(server.server_state.tasks)
    if running and grace:
        logger.info(
            "draining: %d running requests have %g s to finish; a second signal ends them at once", running, grace
        )
        await either(serving, hurry, timeout=grace)
    await engine.stop()
    done, _ = await asyncio.wait({serving}, timeout=2)
    if not done:
        server.force_exit = True
        await asyncio.wait({serving}, timeout=2)
        serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def _url(opened: socket.socket, settings: HTTPSettings) -> str:
    host, port = opened.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if settings.uvicorn_ssl_certfile else 'http'}://{host}:{port}"


logger = logging.getLogger(__name__)


def ready(engine: RunningEngine, url: str) -> None:
    """Print where the model is and a request to paste; to a log instead, that line and the start's phases."""
    name = model(engine)
    if not sys.stderr.isatty():
        engine.timeline.log()
        logger.info("ready: %s serves %s on %s", engine.name, name, url)
        return
    seconds = engine.timeline.marks[-1][1]
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "What is 2+2?"}]}, ensure_ascii=False)
    sys.stderr.write(
        f"\n  {name} is ready after {seconds:.1f} s. Any OpenAI client can use it at {url}/v1:\n\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n    -d {shlex.quote(body)}\n\n"
        "  Ctrl-C stops it.\n\n"
    )
