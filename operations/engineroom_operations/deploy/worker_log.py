"""The last line of whichever worker or pod is looked at now, followed in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

import aiohttp

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..runpod_api.logs import LogEvent

_KEPT = 100
_PATIENCE_S = 5


class WorkerLog:
    """Follows one log at a time. `close()` it.

    reason: what the worker itself says, which is better than its log; empty where it has not been asked.
    """

    def __init__(self, api: RunPodClient) -> None:
        self._api = api
        self._lines: deque[LogEvent] = deque(maxlen=_KEPT)
        self._whose = ""
        self._following: asyncio.Task[None] | None = None
        self.reason = ""

    @property
    def line(self) -> str:
        """What to show of it."""
        return self.reason or (self._lines[-1].line.strip() if self._lines else "")

    def follow_pod(self, pod_id: str) -> None:
        """Follow a pod's log from now on."""
        self._follow(pod_id, self._api.pod_logs(pod_id))

    def follow_worker(self, endpoint_id: str, worker_id: str) -> None:
        """Follow a worker's log from now on."""
        self._follow(worker_id, self._api.worker_logs(endpoint_id, worker_id))

    async def last_lines(self, count: int) -> list[str]:
        """The last lines; waits a moment for them where none has come yet."""
        for _ in range(10 * _PATIENCE_S):
            if self._lines or self._following is None or self._following.done():
                break
            await asyncio.sleep(0.1)
        return [event.line.rstrip() for event in list(self._lines)[-count:]]

    async def close(self) -> None:
        """Follow nothing any more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def _follow(self, whose: str, events: AsyncIterator[LogEvent]) -> None:
        if whose == self._whose and self._following is not None and not self._following.done():
            return
        if self._following is not None:
            self._following.cancel()
        if whose != self._whose:
            self._lines.clear()
            self.reason = ""
        self._whose = whose
        self._following = asyncio.ensure_future(self._read(events))

    async def _read(self, events: AsyncIterator[LogEvent]) -> None:
        # A log that cannot be read is no reason to wait no longer.
        with contextlib.suppress(RunPodApiError, aiohttp.ClientError, asyncio.TimeoutError, OSError):
            async for event in events:
                if event.line.strip():
                    self._lines.append(event)
