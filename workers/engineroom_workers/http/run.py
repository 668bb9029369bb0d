"""The door's life: open, load, serve, be a lame duck, drain, shut."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import socket
import sys
from typing import TYPE_CHECKING

from engineroom.errors import EngineroomError

from ..ending import stop_engine
from ..loading import loading
from ..signals import either, stop_signals
from .garbage import collect_rarely
from .settings import url_at
from .watched_files import watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom.engine import RunningEngine

    from .lifecycle import DoorLifecycle
    from .options import Options
    from .processes.door_processes import DoorProcesses
    from .server import Server
    from .settings import HTTPSettings
    from .stack import Stack

logger = logging.getLogger(__name__)

_DEAD_S = 10
"""How long the door still says why, once its engine is dead, before it ends with an error: long enough for a load
balancer to take it out, short enough that nobody pays for it."""
_CLOSE_S = 2
"""How long the server has to end its connections once the engine is stopped, before they are cut."""


class EngineDied(EngineroomError):
    """The engine ended although nobody stopped it."""


async def run(stack: Stack, sockets: Sequence[socket.socket], options: Options) -> None:
    """Serve until SIGTERM or SIGINT; the next signal skips LAME_DUCK, one after that ends it at once.

    Raises:
        EngineStartError: the engine could not be started.
        EngineDied: it ended while it served.
    """
    engine = stack.engine
    server = _server(stack, options)
    lifecycle = stack.lifecycle
    collect_rarely()
    first_signal, second_signal, third_signal = stop_signals(3)
    starting = asyncio.ensure_future(engine.start())
    serving = asyncio.ensure_future(server.serve(sockets=list(sockets)))
    watching = asyncio.ensure_future(watch([*stack.watched, *server.watched]))
    engine.timeline.mark("listening")
    try:
        async with loading(engine):
            await either(starting, first_signal)
        if starting.done():
            starting.result()
            engine.timeline.mark("engine ready")
            lifecycle.started = True
            if engine.health().ready:
                _announce(engine, _url(sockets[0], options.http), options.page, _open_to_all(options))
            else:
                logger.info("started: %s is %s", engine.name, engine.health().reason)
            await _until_stopped(engine, serving, first_signal)
    finally:
        starting.cancel()
        watching.cancel()
        await asyncio.gather(starting, watching, return_exceptions=True)
        if engine.health().ready:
            await _be_lame_duck(engine, lifecycle, second_signal)
        lifecycle.end(now=True)
        grace = options.door.drain_timeout if engine.health().ready else 0
        if first_signal.done():
            _say_stopping(engine, len(server.running), grace)
        hurry = third_signal if second_signal.done() else second_signal
        await _shut(engine, server, serving, grace, hurry)
        await stack.close()
        if first_signal.done():
            logger.info("stopped")


async def _be_lame_duck(engine: RunningEngine, lifecycle: DoorLifecycle, skip: asyncio.Future[None]) -> None:
    """Be a lame duck: not ready any more, and serving what still comes, until the time is over or the engine dead."""
    lifecycle.end()
    left = lifecycle.lame_duck_left
    if not left:
        return
    logger.info(
        "not ready any more; requests are served for %g s (LAME_DUCK), until balancers have noticed; a second signal "
        "skips that",
        round(left, 1),
    )
    died = asyncio.ensure_future(engine.died())
    await either(died, skip, timeout=left)
    died.cancel()
    await asyncio.gather(died, return_exceptions=True)


def _server(stack: Stack, options: Options) -> Server | DoorProcesses:
    """What serves the sockets: this process, or several door processes."""
    if options.http.door_processes == 1:
        from .server import Server

        return Server(stack.app, options.http, stack.memory)
    from .processes.door_processes import DoorProcesses

    return DoorProcesses(stack.app, options, stack.memory)


def _say_stopping(engine: RunningEngine, running: int, grace: float) -> None:
    """Say what is waited for from now on."""
    if engine.health().hung:
        logger.info("stopping: %s is %s; %d running requests are ended", engine.name, engine.health().reason, running)
    elif not engine.health().ready:
        logger.info("stopping: %s had not finished loading", engine.name)
    elif not running:
        logger.info("stopping: no request is running, %s is ended", engine.name)
    elif grace:
        logger.info(
            "draining: %d running requests have %g s to finish; another signal ends them at once", running, grace
        )
    else:
        logger.info("stopping: %d running requests are ended", running)


async def _until_stopped(engine: RunningEngine, serving: asyncio.Future[None], stop: asyncio.Future[None]) -> None:
    """Return at the signal to stop.

    Raises:
        EngineDied: the engine ended before.
        DoorProcessError: the server ended before.
    """
    died = asyncio.ensure_future(engine.died())
    try:
        await either(died, serving, stop)
        if serving.done() and not stop.done():
            serving.result()
        if died.done() and not stop.done():
            reason = died.result()
            logger.error("the engine is gone: %s; exiting in %d s", reason, _DEAD_S)
            await asyncio.wait({stop}, timeout=_DEAD_S)
            raise EngineDied(f"the engine is gone: {reason}")
    finally:
        died.cancel()


async def _shut(
    engine: RunningEngine,
    server: Server | DoorProcesses,
    serving: asyncio.Future[None],
    grace: float,
    hurry: asyncio.Future[None],
) -> None:
    """Give running requests `grace` seconds, then close the sockets, and end what is left by stopping the engine.

    Until then the sockets are open: probes and metrics are answered, and requests refused with a word instead of an
    error of the network. Idle connections are open as long: a request may be on its way on any of them.
    """
    running = set(server.running)
    if running and grace:
        finished = asyncio.ensure_future(asyncio.wait(running))
        await either(serving, finished, hurry, timeout=grace)
        finished.cancel()
    server.should_exit = True
    await stop_engine(engine, hurry)
    done, _ = await asyncio.wait({serving}, timeout=_CLOSE_S)
    if not done:
        server.force_exit = True
        await asyncio.wait({serving}, timeout=_CLOSE_S)
        serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def _url(listening: socket.socket, settings: HTTPSettings) -> str:
    """Where clients on this machine reach the door."""
    host, port = listening.getsockname()[:2]
    return url_at(host, port, "https" if settings.uvicorn_ssl_certfile else "http")


def _open_to_all(options: Options) -> str:
    """What there is to say where anyone who reaches this machine may use the door; else nothing."""
    if not options.open_to_all:
        return ""
    return f"anyone who reaches this machine may use the model: HOST={options.http.host} and no API_KEYS"


def _announce(engine: RunningEngine, url: str, page: bool, warning: str) -> None:
    """Print where the model is, where its page, and a request to paste; to a log, that and the start's phases.

    Args:
        page: whether there is a page to chat with it.
        warning: what has to stand last before that it is ready; empty where there is nothing.
    """
    if not sys.stderr.isatty():
        engine.timeline.log()
        at_page = f", with a page to chat at {url}/" if page else ""
        if warning:
            logger.warning("%s", warning)
        logger.info("ready: %s serves %s on %s%s", engine.name, engine.served, url, at_page)
        return
    seconds = engine.timeline.marks[-1][1]
    name = engine.models[0] if engine.models else "a model"
    verb = "is" if engine.served == name else "are"
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "What is 2+2?"}]}, ensure_ascii=False)
    at_page = f"  A page to chat with it in a browser:\n\n    {url}/\n\n" if page else ""
    at_first = f"  Warning: {warning}.\n\n" if warning else ""
    # An address has a line of its own, so that no terminal breaks it.
    sys.stderr.write(
        f"\n{at_first}  {engine.served} {verb} ready after {seconds:.1f} s. Any OpenAI client can use it at\n\n"
        f"    {url}/v1\n\n"
        f"  curl {url}/v1/chat/completions \\\n"
        f"    -H 'Content-Type: application/json' \\\n"
        f"    -d {shlex.quote(body)}\n\n"
        f"{at_page}"
        "  Ctrl-C stops it.\n\n"
    )
