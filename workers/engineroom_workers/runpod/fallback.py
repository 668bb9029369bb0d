"""The fall-back: RunPod's own loop, through `runpod.serverless.start`, its only public door.

The SDK insists on the main thread and on an event loop of its own, so the engine lives in a second thread with its
loop, and each step of a response crosses over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from typing import Any

from engineroom.engine import RunningEngine
from engineroom.timeouts import timeout

from . import sdk
from .handler import JobFailure, JobHandler
from .platform import PollResponse
from .settings import RunPodSettings

logger = logging.getLogger(__name__)

_END: Any = object()
_LAST_WORDS_S = 5.0


def run(engine: RunningEngine, settings: RunPodSettings) -> int:
    """Work until the SDK's loop ends, which after SIGTERM takes as long as its polls; the exit code.

    Raises:
        EngineStartError: the engine could not be started.
    """
    os.register_at_fork(after_in_child=_end_with_parent)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="engine", daemon=True)
    thread.start()
    try:
        _across(engine.start(), loop).result()
        engine.timeline.log()
        _across(_watch(engine), loop)
        runpod = sdk.whole()
        sdk.read_responses_as(PollResponse)
        runpod.serverless.start(
            {
                "handler": sdk_handler(JobHandler(engine, settings), loop),
                "concurrency_modifier": lambda current: settings.max_concurrency,
                "return_aggregate_stream": True,
            }
        )
        return 0
    finally:
        _across(engine.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def _end_with_parent() -> None:
    """End the SDK's ping process with the worker, also where that is killed; else it would ping for ever (Linux)."""
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def sdk_handler(handler: JobHandler, loop: asyncio.AbstractEventLoop) -> Any:
    """The handler as the SDK wants it: an async generator of items, in the SDK's loop.

    An item `{"error": text}` is the SDK's own word for a job that is FAILED.
    """

    async def handle(job: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        response = handler.respond(job)
        items = response.items
        ended = False

        def end(_: object = None) -> None:
            nonlocal ended
            if not ended:
                ended = True
                _across(items.aclose(), loop)
                response.record.log()

        task = asyncio.current_task()
        assert task is not None, "the SDK runs each job in a task"
        # The SDK may cancel a job while it posts an item. This generator waits at its `yield` then, and lives on with
        # the task, which the SDK keeps until another job ends: the engine would go on for nobody.
        task.add_done_callback(end)
        try:
            while True:
                try:
                    item = await asyncio.wrap_future(_across(anext(items, _END), loop))
                except JobFailure as error:
                    response.record.status = "FAILED"
                    yield {"error": str(error)}
                    return
                if item is _END:
                    return
                yield _Output(item) if isinstance(item, dict) else item
        finally:
            end()

    return handle


class _Output(dict[str, Any]):
    """An object of a job's output, in which the SDK finds no `error`: it would fail the job with Python's notation of
    it. As JSON it is the whole object."""

    def get(self, key: str, default: Any = None) -> Any:
        return default if key == "error" else super().get(key, default)


async def _watch(engine: RunningEngine) -> None:
    """End the process when the engine dies, because the SDK's loop cannot be stopped from outside.

    The jobs that were running have a few seconds to tell their clients.
    """
    logger.error("the engine is gone: %s", await engine.died())
    give_up = time.monotonic() + _LAST_WORDS_S
    # The SDK has no event for it.
    while sdk.has_jobs() and time.monotonic() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    for child in multiprocessing.active_children():
        child.terminate()
    with contextlib.suppress(asyncio.TimeoutError):
        async with timeout(15):
            await engine.stop()
    os._exit(1)


def _across(coroutine: Any, loop: asyncio.AbstractEventLoop) -> Future[Any]:
    async def run() -> Any:
        return await coroutine

    return asyncio.run_coroutine_threadsafe(run(), loop)
