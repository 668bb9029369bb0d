"""One replica: an engine, and the HTTP door's layers around it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engineroom import logs, plugins
from engineroom.errors import EngineroomError
from engineroom.settings import Environment

from ..http.watched_files import watch
from .arrival import Arrival
from .asgi import ReplicaApp
from .drain import Drain
from .options import DOORS, RayOptions
from .ray_metrics import RayMetrics

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp
    from engineroom.plugins import Setup

    from ..http.stack import Stack

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 0.5
"""For the errors of the requests that ran when the engine died."""


class UnhealthyEngine(EngineroomError):
    """The engine has died, or does not respond; the text says why. Serve replaces the replica."""


class Replica:
    """What Serve makes on each replica, and calls: constructor, app and checks in one loop, as an engine wants it.

    Args:
        settings: what goes before this replica's own environment.

    Raises:
        SettingsError: the settings are wrong on this node.
        EngineStartError: the engine could not be started.
    """

    async def __init__(self, settings: Mapping[str, str]) -> None:  # type: ignore[misc]  # Serve awaits it.
        # Beside the loop: it reads files, and makes what must not be made in one.
        setup, stack = await asyncio.to_thread(_configure, settings)
        options = setup.door
        engine = stack.engine
        self._engine = engine
        self._stack = stack
        self._hangs_are_ended = setup.worker.engine_hang_timeout > 0
        try:
            await engine.start()
        except BaseException:
            await engine.stop()
            await stack.close()
            raise
        engine.timeline.mark("engine ready")
        stack.lifecycle.started = True
        logger.info("ready: %s serves %s", engine.name, engine.served)
        self._drain = Drain(engine, options.http.door.drain_timeout)
        self._metrics = RayMetrics(stack) if options.http.observe.metrics else None
        tasks = [watch(stack.watched), self._drain.run(), self._end_with_engine()]
        if self._metrics is not None:
            tasks.append(self._metrics.run())
        self._tasks = [asyncio.ensure_future(task) for task in tasks]
        arrival = Arrival(stack.app, stack.memory, options.http.http.body_timeout)
        self._app = ReplicaApp(arrival, options.http.http.on_loopback, self._close)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The app, which Serve asks for once the engine has started."""
        return self._app

    async def check_health(self) -> None:
        """Raises UnhealthyEngine where the engine has died, or does not respond.

        A replica whose engine hangs would go on to be given requests, only to refuse them, so it does not wait for
        ENGINE_HANG_TIMEOUT: Serve sends the requests elsewhere, and replaces the replica after three such checks. With
        ENGINE_HANG_TIMEOUT=0 no engine is ever ended because of a hang, here neither.
        """
        health = self._engine.health()
        if not health.live or (health.hung and self._hangs_are_ended):
            raise UnhealthyEngine(f"{self._engine.name}: {health.reason}")

    async def _end_with_engine(self) -> None:
        """End this process once its engine is dead.

        Serve notices that at once, and HAProxy gives what it cannot deliver to another replica. One that stayed until
        Serve's checks have failed would answer its share of the requests with errors.
        """
        reason = await self._engine.died()
        logger.error("the engine is gone: %s; this replica ends, and Serve starts another", reason)
        await asyncio.sleep(_LAST_WORDS_S)
        await self._engine.stop()
        await self._stack.close()
        os._exit(1)

    async def _close(self) -> None:
        """Stop the engine, and give up what the layers hold, at the replica's end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.stop()
        await self._stack.close()
        logger.info("stopped")


def _configure(settings: Mapping[str, str]) -> tuple[Setup[RayOptions], Stack]:
    """The engine and the layers, made from the replica's own environment with `settings` above it."""
    from ..http.stack import Stack

    env = Environment.load().with_arguments(settings, "the application's args")
    logs.configure_before(env)
    setup = plugins.set_up(env, RayOptions.load, door=DOORS)
    logs.configure(setup.worker)
    setup.log_notes()
    of_http: Any = dataclasses.replace(setup, door=setup.door.http)  # type: ignore[arg-type]
    return setup, Stack(of_http)
