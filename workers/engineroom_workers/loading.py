"""What a person sees while an engine loads, whichever door waits for it."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engineroom.timeline import Timeline

logger = logging.getLogger(__name__)

_PATIENCE_S = 0.3
_EVERY_S = 10


class Loading(Protocol):
    """The part of an engine that is looked at."""

    @property
    def name(self) -> str: ...

    @property
    def models(self) -> tuple[str, ...]: ...

    @property
    def timeline(self) -> Timeline: ...


@asynccontextmanager
async def loading(engine: Loading) -> AsyncIterator[None]:
    """Show that the engine is loading: a spinner on a terminal, elsewhere a line now and every ten seconds."""
    task = asyncio.ensure_future(_spinner(engine) if sys.stderr.isatty() else _lines(engine))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def model(engine: Loading) -> str:
    """The name under which the engine's model is served."""
    return engine.models[0] if engine.models else "a model"


async def _lines(engine: Loading) -> None:
    started = time.monotonic()
    await asyncio.sleep(_PATIENCE_S)
    logger.info("%s is loading %s", engine.name, model(engine))
    while True:
        await asyncio.sleep(_EVERY_S)
        seconds, last = time.monotonic() - started, engine.timeline.last
        logger.info("%s is loading %s: %.0f s so far, last finished: %s", engine.name, model(engine), seconds, last)


async def _spinner(engine: Loading) -> None:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    await asyncio.sleep(_PATIENCE_S)
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(f"{engine.name} is loading {model(engine)}", total=None)
        await asyncio.Event().wait()
