"""What a person sees while an engine loads, whichever door waits for it."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engineroom.engine import RunningEngine

logger = logging.getLogger(__name__)

_FIRST_LINE_S = 0.3
"""An engine that is ready sooner needs no line and no spinner."""
_INTERVAL_S = 10


@asynccontextmanager
async def loading(engine: RunningEngine) -> AsyncIterator[None]:
    """Show that the engine is loading, until the block is left.

    A terminal gets a spinner; a log gets a line at once and another every ten seconds.
    """
    task = asyncio.ensure_future(_spin(engine) if sys.stderr.isatty() else _log_lines(engine))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def model_name(engine: RunningEngine) -> str:
    """The name under which the engine serves its model, or `a model` where that is not known yet."""
    return engine.models[0] if engine.models else "a model"


async def _log_lines(engine: RunningEngine) -> None:
    started = time.monotonic()
    await asyncio.sleep(_FIRST_LINE_S)
    logger.info("%s is loading %s", engine.name, model_name(engine))
    while True:
        await asyncio.sleep(_INTERVAL_S)
        logger.info(
            "%s is loading %s: %.0f s so far, last finished: %s",
            engine.name,
            model_name(engine),
            time.monotonic() - started,
            engine.timeline.last,
        )


async def _spin(engine: RunningEngine) -> None:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    await asyncio.sleep(_FIRST_LINE_S)
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(f"{engine.name} is loading {model_name(engine)}", total=None)
        # The spinner turns in a thread of its own until this is cancelled.
        await asyncio.Event().wait()
