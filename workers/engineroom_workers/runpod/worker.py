"""A worker's life on the queue: it starts the engine, takes jobs, stops the engine, and loses no job on the way."""

from __future__ import annotations

import asyncio
import logging

from engineroom.engine import RunningEngine
from engineroom.errors import EngineStartError

from ..ending import stop_engine
from ..loading import loading
from ..signals import either, stop_signals
from . import sdk
from .handler import JobHandler
from .jobs import JobPool, take_jobs, watch_cancellations
from .platform import DeliveryError, Platform
from .settings import RunPodSettings

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
"""Seconds between two looks at whether the engine responds."""
_FINISH_S = 10.0
"""Seconds that jobs have for their last words, once the engine is stopped."""
_HANG_UP_S = 5.0
"""Seconds that the platform has to end a poll, once we have hung up."""

_PINGING = "pinging"


class QueueWorker:
    """One worker on a RunPod queue.

    Args:
        engine: configured, not started.
        drain_timeout: seconds that running jobs have to finish after SIGTERM.
    """

    def __init__(self, engine: RunningEngine, settings: RunPodSettings, drain_timeout: float) -> None:
        self._engine = engine
        self._settings = settings
        self._drain_timeout = drain_timeout

    async def run(self) -> int:
        """Work until SIGTERM or SIGINT, or until the engine dies; the exit code. A second signal ends the draining.

        Raises:
            EngineStartError: the engine could not be started.
            SDKMovedError: the SDK is not one that this loop can drive. The engine is stopped.
        """
        stopping, hurrying = stop_signals()
        starting = asyncio.ensure_future(self._engine.start())
        # The engine's process starts before the SDK's import competes with it for the processor.
        await asyncio.sleep(0)
        importing = asyncio.ensure_future(asyncio.to_thread(sdk.load))
        platform: Platform | None = None
        try:
            platform = Platform(await importing, self._settings.hand_back)
            self._engine.timeline.mark("SDK imported")
            async with loading(self._engine):
                await either(starting, stopping)
            if not starting.done():
                return 0
            starting.result()
            health = self._engine.health()
            if health.live and not health.ready and not health.hung:
                raise EngineStartError(f"no job can be taken: {self._engine.name} is {health.reason}")
            self._engine.timeline.mark("engine ready")
            return await self._work(platform, stopping, hurrying)
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            if stopping.done() and not self._engine.health().ready:
                logger.info("stopping: %s was not ready", self._engine.name)
            await stop_engine(self._engine, hurrying)
            if platform is not None:
                await platform.close()
            if stopping.done():
                logger.info("stopped")

    async def _work(self, platform: Platform, stopping: asyncio.Future[None], hurrying: asyncio.Future[None]) -> int:
        pool = JobPool(JobHandler(self._engine, self._settings), platform, self._settings.max_concurrency)
        no_more_jobs: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        died = asyncio.ensure_future(self._engine.died())
        taking = asyncio.ensure_future(take_jobs(platform, pool, no_more_jobs))
        others = [
            asyncio.ensure_future(keep_pinging(platform, self._engine)),
            asyncio.ensure_future(watch_engine(self._engine, platform, pool)),
            asyncio.ensure_future(watch_cancellations(platform, pool)),
        ]
        self._engine.timeline.log()
        logger.info("ready: taking jobs, up to %d at a time", self._settings.max_concurrency)
        try:
            await either(stopping, died, taking, *others)
            for running in (taking, *others):
                if running.done():
                    # None of them ends by itself: this raises what it failed with.
                    running.result()
            no_more_jobs.set_result(None)
            platform.stop_taking()
            if died.done():
                # Nobody hurries us: what is finished has the same time to be delivered as after SIGTERM. A job that
                # comes with the last poll is answered, too: with the error.
                logger.error("the engine is gone: %s", died.result())
                await either(taking, stopping, timeout=self._drain_timeout)
                await self._end_poll(platform, taking)
                await pool.finish(_FINISH_S if stopping.done() else max(_FINISH_S, self._drain_timeout))
            else:
                await self._drain(platform, taking, pool, hurrying)
                await pool.finish(_FINISH_S)
            return 1 if died.done() else 0
        finally:
            tasks = (died, taking, *others)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_FINISH_S)

    async def _drain(
        self, platform: Platform, taking: asyncio.Future[None], pool: JobPool, hurrying: asyncio.Future[None]
    ) -> None:
        """Let running jobs finish, for a while. Then the engine stops, and ends what still runs with an error.

        Within the same time the platform may end the poll that is under way, and what came with it may run.
        """
        if len(pool):
            jobs = len(pool)
            logger.info(
                "draining: %d running jobs have %g s to finish; a second signal ends them", jobs, self._drain_timeout
            )
        else:
            logger.info("draining: no job is running; the poll under way has %g s to end", self._drain_timeout)
        drained = asyncio.ensure_future(_drained(taking, pool))
        await either(drained, hurrying, timeout=self._drain_timeout)
        drained.cancel()
        ending = asyncio.ensure_future(self._end_poll(platform, taking))
        await stop_engine(self._engine, hurrying)
        await ending

    async def _end_poll(self, platform: Platform, taking: asyncio.Future[None]) -> None:
        """Hang up, if the poll has not ended; a job that comes all the same is started, and answered."""
        if not taking.done():
            platform.hang_up()
            await asyncio.wait({taking}, timeout=_HANG_UP_S)


async def _drained(taking: asyncio.Future[None], pool: JobPool) -> None:
    await asyncio.shield(taking)
    await pool.wait_idle()


async def watch_engine(engine: RunningEngine, platform: Platform, pool: JobPool) -> None:
    """Take no jobs as long as the engine does not respond; those that run wait for it."""
    paused = False
    while True:
        health = engine.health()
        if not health.live:
            pool.let_end()
        elif health.hung:
            if not paused:
                logger.warning("no jobs are taken, and no pings sent: the engine is %s", health.reason)
            paused = True
            pool.pause()
            # Again each time: a poll may have begun just before.
            platform.pause_taking()
        elif paused:
            paused = False
            pool.resume()
        await asyncio.sleep(_LOOK_S)


async def keep_pinging(platform: Platform, engine: RunningEngine) -> None:
    """Tell the platform again and again that this worker lives, and which jobs it has.

    From this event loop and nowhere else: a worker whose loop hangs, or that was killed, stops looking alive. So does
    one whose engine does not respond.
    """
    if not platform.pings:
        logger.info("no pings are sent: RUNPOD_WEBHOOK_PING or RUNPOD_AI_API_KEY is not set")
        await asyncio.Event().wait()
    while True:
        if engine.health().hung:
            await asyncio.sleep(_LOOK_S)
            continue
        try:
            await platform.ping()
            platform.outage.worked(_PINGING)
            delay = platform.ping_interval
        except DeliveryError as error:
            delay = min(2.0, platform.ping_interval)
            platform.outage.failed(_PINGING, error)
        await asyncio.sleep(max(delay, 0.1))
