"""A job's `webhook`: the emulator posts the job's final state there, with two more attempts, as the platform does."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from .http import encode
from .jobs import Job

logger = logging.getLogger(__name__)

ATTEMPTS = 3
PAUSE_S = 10.0
TIMEOUT_S = 10.0
"""RunPod does not document it."""


class WebhookSender:
    """Posts in the background; `close` gives up what is under way.

    Args:
        pause: seconds between two attempts.
    """

    def __init__(self, pause: float = PAUSE_S) -> None:
        self._pause = pause
        self._tasks: set[asyncio.Task[None]] = set()

    def job_finished(self, job: Job) -> None:
        """Post the state of a job that has just ended, if its client asked for that."""
        url = job.request.webhook
        if url:
            task = asyncio.create_task(self._post(url, job.id, encode(job.for_client())))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel all posts."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post(self, url: str, job_id: str, body: bytes) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    async with session.post(url, data=body, headers={"content-type": "application/json"}) as response:
                        if response.status == 200:
                            return
                        failure = f"status {response.status}"
                except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
                    failure = str(error) or type(error).__name__
                logger.warning("webhook of job %s, attempt %d of %d: %s", job_id, attempt, ATTEMPTS, failure)
                if attempt < ATTEMPTS:
                    await asyncio.sleep(self._pause)
