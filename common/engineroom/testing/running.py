"""An engine that runs for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from ..engine import Engine

AnyEngine = TypeVar("AnyEngine", bound=Engine)


@asynccontextmanager
async def running(engine: AnyEngine) -> AsyncIterator[AnyEngine]:
    """Start an engine, and stop it whatever happens."""
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
