"""The end of a door: its engine is stopped, and a second signal makes that quick."""

from __future__ import annotations

import asyncio
import logging

from engineroom.engine import RunningEngine

from .signals import either

logger = logging.getLogger(__name__)

_HURRY_S = 2
"""How long an engine may still take after the second signal. What it has not cleaned up by then its reaper does, which
outlives this process."""


async def stop_engine(engine: RunningEngine, hurry: asyncio.Future[None]) -> None:
    """Stop the engine, and wait for it: as long as it takes, or two seconds after the second signal.

    Args:
        hurry: done at the second signal.
    """
    stopping = asyncio.ensure_future(engine.stop())
    await either(stopping, hurry)
    if not stopping.done():
        logger.warning("a second signal: ending at once")
        await asyncio.wait({stopping}, timeout=_HURRY_S)
    if stopping.done():
        stopping.result()
        return
    logger.warning("%s has not stopped yet; its processes are ended without this one waiting for them", engine.name)
    stopping.cancel()
    await asyncio.wait({stopping}, timeout=_HURRY_S)
