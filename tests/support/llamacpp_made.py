"""llama.cpp engines for tests, small and quick to start."""

from __future__ import annotations

from typing import Any

from engineroom.environment import Environment
from engineroom_llamacpp import LlamaCppEngine

SMALL = {"CTX_SIZE": 2048, "PARALLEL": 8, "STOP_TIMEOUT": 5, "START_TIMEOUT": 60}


def make(**settings: Any) -> LlamaCppEngine:
    """A configured engine with the small real model."""
    env = Environment.of({**SMALL, **settings})
    return LlamaCppEngine.configure(env.with_aliases(LlamaCppEngine.aliases).with_defaults(LlamaCppEngine.defaults))
