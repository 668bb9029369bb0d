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
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from engineroom.engine import Engine

from .handler import JobFailure, JobHandler
from .settings import RunPodSettings

logger = logging.getLogger(__name__)

_END: Any = object()


def run(engine: Engine, settings: RunPodSettings) -> int:
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
        import runpod

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

    The SDK looks into every item for an `error`, and makes of one that is not text Python's own notation of it.
    """

    async def handle(job: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        items = handler.respond(job).items
        try:
            while True:
                try:
                    item = await asyncio.wrap_future(_across(anext(items, _END), loop))
                except JobFailure as error:
                    yield {"error": str(error)}
                    return
                if item is _END:
                    return
                is_error = isinstance(item, dict) and item.get("error")
                yield msgspec.json.encode(item).decode() if is_error else item
        finally:
            _across(items.aclose(), loop)

    return handle


async def _watch(engine: Engine) -> None:
    """End the process when the engine dies, because the SDK's loop cannot be stopped from outside."""
    logger.error("the engine is gone: %s", await engine.died())
    for child in multiprocessing.active_children():
        child.terminate()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(engine.stop(), 15)
    os._exit(1)


def _across(coroutine: Any, loop: asyncio.AbstractEventLoop) -> Future[Any]:
    async def run() -> Any:
        return await coroutine

    return asyncio.run_coroutine_threadsafe(run(), loop)
