"""What a person sees while an engine loads, whichever door waits for it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from engineroom.engine import RunningEngine
from engineroom.waiting import waiting


def loading(engine: RunningEngine) -> AbstractAsyncContextManager[None]:
    """Show that the engine is loading, until the block is left."""
    return waiting(engine.timeline, lambda: f"{engine.name} is loading {engine.served}")
