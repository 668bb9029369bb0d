"""llama.cpp engines for tests, small and quick to start."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import psutil

from engineroom import plugins
from engineroom.engine import Engine
from engineroom.settings import Environment, WorkerSettings
from engineroom_llamacpp import LlamaCppEngine

SMALL = {
    "CTX_SIZE": 2048,
    "PARALLEL": 4,
    "STOP_TIMEOUT": 5,
    "START_TIMEOUT": 110,
    # Its threads wait for each other by spinning: beside other tests more of them are slower by far than one.
    "THREADS": 1,
    # Else a slot forgets its prompt as soon as another is asked, and tests ask the same again and again.
    "CACHE_IDLE_SLOTS": False,
}


def in_so_many_words(text: str) -> dict[str, Any]:
    """Fields of a request that is answered with this text."""
    return {"grammar": f"root ::= {json.dumps(text, ensure_ascii=False)}"}


def make(**settings: Any) -> LlamaCppEngine:
    """A configured engine with the small real model."""
    env = plugins.understood(LlamaCppEngine, Environment.of({**SMALL, **settings}))
    return LlamaCppEngine.configure(WorkerSettings.load(env), env)


async def kill(engine: Engine) -> None:
    """The server process of the engine that was started last, as the kernel would when memory is short."""
    family = psutil.Process().children(recursive=True)
    servers = [p for p in family if "child.py" in " ".join(p.cmdline()) and "reaper" not in p.cmdline()[2]]
    os.kill(max(servers, key=lambda process: float(process.create_time())).pid, signal.SIGKILL)
