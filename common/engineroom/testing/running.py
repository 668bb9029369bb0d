"""What holds for as long as a block lasts: an engine runs, or its processes are stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from ..engine import RunningEngine

AnyEngine = TypeVar("AnyEngine", bound=RunningEngine)


@asynccontextmanager
async def running(engine: AnyEngine) -> AsyncIterator[AnyEngine]:
    """Start an engine, and stop it whatever happens."""
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


@contextmanager
def stopped(pids: Collection[int]) -> Iterator[None]:
    """Let processes stand still (SIGSTOP), as those of an engine that hangs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
