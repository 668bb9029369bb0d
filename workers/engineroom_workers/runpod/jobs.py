"""The jobs that this worker has: one task each, so that one can be stopped without the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from .delivery import deliver
from .handler import Handler
from .platform import Platform

logger = logging.getLogger(__name__)


class Jobs:
    """Starts, counts and ends jobs."""

    def __init__(self, handler: Handler, platform: Platform, most: int) -> None:
        self._handler = handler
        self._platform = platform
        self._most = most
        self._running: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    async def room(self) -> int:
        """How many more may be taken, once that is at least one."""
        while len(self._running) >= self._most:
            self._changed.clear()
            await self._changed.wait()
        return self._most - len(self._running)

    async def none(self) -> None:
        """Wait until there is none."""
        while self._running:
            self._changed.clear()
            await self._changed.wait()

    def start(self, job: Any) -> bool:
        """Start a job as the platform handed it out; false where it is none.

        One that is running already goes on: its result is the result.
        """
        job_id = job.get("id") if isinstance(job, dict) else None
        if not isinstance(job_id, str) or not job_id:
            logger.error("the platform handed out something that is not a job: %.200r", job)
            return False
        if job_id in self._running:
            logger.warning("job %s was handed out again while it is running; it continues", job_id)
        else:
            self._platform.job_begins(job_id)
            self._running[job_id] = asyncio.ensure_future(self._run(job_id, job))
        return True

    async def _run(self, job_id: str, job: dict[str, Any]) -> None:
        logger.debug("job %s started", job_id)
        try:
            await deliver(job_id, self._handler.answer(job), self._platform)
            logger.debug("job %s finished", job_id)
        except asyncio.CancelledError:
            logger.info("job %s stopped", job_id)
        except Exception:
            logger.exception("job %s ended without a result", job_id)
        finally:
            self._platform.job_ends(job_id)
            del self._running[job_id]
            self._changed.set()

    def stop(self, job_ids: Sequence[str]) -> None:
        """Stop jobs, as the platform asked: their generations are aborted, and nothing more is sent."""
        for job_id in job_ids:
            if task := self._running.get(job_id):
                task.cancel()

    async def end(self, grace: float) -> None:
        """Wait `grace` seconds for what is still being said, then stop the rest."""
        tasks = list(self._running.values())
        if tasks:
            _, rest = await asyncio.wait(tasks, timeout=grace)
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
