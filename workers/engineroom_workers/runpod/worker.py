"""A worker's life on the queue: the engine starts, jobs are taken, the engine stops; no job is lost on the way."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from engineroom.errors import EngineStartError

from ..loading import loading
from ..signals import either, stop_signals
from . import loops, sdk
from .handler import Handler
from .jobs import Jobs
from .platform import DeliveryError, Platform

if TYPE_CHECKING:
    from engineroom.engine import Engine

    from .settings import RunPodSettings

logger = logging.getLogger(__name__)

_LAST_WORDS = 5.0
"""Seconds that jobs have to tell their clients, once the engine is stopped or dead."""


class Worker:
    """One worker.

    Args:
        engine: configured, not started.
        drain_timeout: seconds that running jobs have to finish after SIGTERM.
    """

    def __init__(self, engine: Engine, settings: RunPodSettings, drain_timeout: float) -> None:
        self._engine = engine
        self._settings = settings
        self._drain_timeout = drain_timeout

    async def run(self) -> int:
        """Work until SIGTERM or SIGINT, or until the engine dies; a second signal hurries. The exit code.

        Raises:
            EngineStartError: the engine could not be started.
            SDKMovedError: the SDK is not one that this loop can drive. The engine is stopped.
        """
        stopping, hurry = stop_signals()
        starting = asyncio.ensure_future(self._engine.start())
        # The engine's process is to be on its way before the SDK's import competes with it.
        await asyncio.sleep(0)
        importing = asyncio.ensure_future(asyncio.to_thread(sdk.load))
        platform: Platform | None = None
        try:
            platform = Platform(await importing)
            self._engine.timeline.mark("SDK imported")
            async with loading(self._engine):
                await either(starting, stopping)
            if not starting.done():
                return 0
            try:
                starting.result()
            except EngineStartError as error:
                await _report_unwell(platform, str(error))
                raise
            self._engine.timeline.mark("engine ready")
            return await self._work(platform, stopping, hurry)
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._engine.stop()
            if platform is not None:
                await platform.close()

    async def _work(self, platform: Platform, stopping: asyncio.Future[None], hurry: asyncio.Future[None]) -> int:
        jobs = Jobs(Handler(self._engine, self._settings), platform, self._settings.max_concurrency)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        died = asyncio.ensure_future(self._engine.died())
        taking = asyncio.ensure_future(loops.take(platform, jobs, over))
        others = [asyncio.ensure_future(loops.ping(platform)), asyncio.ensure_future(loops.hear_stops(platform, jobs))]
        self._engine.timeline.log()
        logger.info("ready: taking jobs, up to %d at a time", self._settings.max_concurrency)
        try:
            await either(stopping, died, taking, *others)
            for loop in (taking, *others):
                if loop.done():
                    loop.result()
            over.set_result(None)
            platform.stop_taking()
            if died.done():
                logger.error("the engine is gone: %s", died.result())
                await asyncio.wait({taking}, timeout=_LAST_WORDS)
            else:
                await self._drain(taking, jobs, hurry)
            await jobs.end(_LAST_WORDS)
            return 1 if died.done() else 0
        finally:
            tasks = (died, taking, *others)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_LAST_WORDS)

    async def _drain(self, taking: asyncio.Future[None], jobs: Jobs, hurry: asyncio.Future[None]) -> None:
        """Let running jobs finish, for a while; what still runs then is told by the engine as it stops."""
        if len(jobs):
            logger.info("draining: %d running jobs have %g s to finish", len(jobs), self._drain_timeout)
        else:
            logger.info("draining: no job is running")
        drained = asyncio.ensure_future(_drained(taking, jobs))
        await either(drained, hurry, timeout=self._drain_timeout)
        drained.cancel()
        await self._engine.stop()


async def _drained(taking: asyncio.Future[None], jobs: Jobs) -> None:
    await asyncio.shield(taking)
    await jobs.none()


async def _report_unwell(platform: Platform, reason: str) -> None:
    """As the SDK does when a fitness check fails, so that the reason can be seen at the platform."""
    if not platform.pings:
        return
    try:
        await asyncio.wait_for(platform.ping(status="unhealthy", check="engine", reason=reason[:256]), 2)
    except (DeliveryError, asyncio.TimeoutError) as error:
        logger.warning("could not report the failed start to the platform: %r", error)
