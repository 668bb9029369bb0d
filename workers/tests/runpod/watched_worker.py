"""`engineroom runpod`, with the engine's own metrics written to the file METRICS twenty times a second.

So a test can see in the engine that a generation has ended, and not only that nothing more comes of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from unittest.mock import patch

from engineroom.engine import Engine
from engineroom.settings import Environment
from engineroom_workers.runpod import worker
from engineroom_workers.runpod.command import work


async def watch(engine: Engine) -> None:
    metrics = Path(os.environ["METRICS"])
    while True:
        metrics.with_suffix(".new").write_text(await engine.metrics())
        metrics.with_suffix(".new").rename(metrics)
        await asyncio.sleep(0.05)


class WatchedWorker(worker.QueueWorker):
    async def run(self) -> int:
        watching = asyncio.ensure_future(watch(self._engine))
        try:
            return await super().run()
        finally:
            watching.cancel()


if __name__ == "__main__":
    with patch.object(worker, "QueueWorker", WatchedWorker):
        sys.exit(work(Environment.load()))
