"""What a person sees while an engine loads, whichever door waits for it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from engineroom.engine import RunningEngine
from engineroom.waiting import waiting


def loading(engine: RunningEngine) -> AbstractAsyncContextManager[None]:
    """Show that the engine is loading, until the block is left."""
    return waiting(engine.timeline, lambda: f"{engine.name} is loading {model_name(engine)}")


def model_name(engine: RunningEngine) -> str:
    """The name under which the engine serves its model, or `a model` where that is not known yet."""
    return engine.models[0] if engine.models else "a model"
