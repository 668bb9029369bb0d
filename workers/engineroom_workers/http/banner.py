"""What a person sees on the terminal: progress while the engine loads, then where it is and what to paste."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .served import Served

logger = logging.getLogger(__name__)

_PATIENCE_S = 2
_EVERY_S = 10


@asynccontextmanager
async def loading(engine: Served) -> AsyncIterator[None]:
    """Say what is going on where it takes longer than two seconds: a spinner on a terminal, a line elsewhere."""
    task = asyncio.ensure_future(_spinner(engine) if sys.stderr.isatty() else _lines(engine))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _lines(engine: Served) -> None:
    started = time.monotonic()
    await asyncio.sleep(_PATIENCE_S)
    while True:
        logger.info("%s is loading %s (%.0f s)", engine.name, _model(engine), time.monotonic() - started)
        await asyncio.sleep(_EVERY_S)


async def _spinner(engine: Served) -> None:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    await asyncio.sleep(_PATIENCE_S)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(f"{engine.name} is loading {_model(engine)}", total=None)
        await asyncio.Event().wait()


def ready(engine: Served, url: str) -> None:
    """Print where the model is and a request to paste, or log one line where nobody looks."""
    logger.info("ready: %s serves %s on %s (%s)", engine.name, _model(engine), url, engine.timeline)
    if not sys.stderr.isatty():
        return
    body = f'{{"model": "{_model(engine)}", "messages": [{{"role": "user", "content": "What is 2+2?"}}]}}'
    sys.stderr.write(
        f"\n  {_model(engine)} is at {url}/v1, for any OpenAI client. Try it:\n\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n    -d '{body}'\n\n"
        "  Ctrl-C ends it.\n\n"
    )


def _model(engine: Served) -> str:
    return engine.models[0] if engine.models else "a model"
