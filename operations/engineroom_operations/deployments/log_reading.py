"""Log lines of a deployment: those that there are, or each as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp

from engineroom.timeouts import timeout

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..runpod_api.logs import LogEvent
from ..runpod_api.resources import PODS
from .deployment import Deployment

_QUIET_S = 1.5
"""A stream never ends by itself: so long without a line, and what there was is there."""
_PAUSE_S = 1.0
_WORKERS_S = 3.0


def _events(api: RunPodClient, deployment: Deployment, worker: str, tail: int, after: str) -> AsyncIterator[LogEvent]:
    if deployment.kind == "pod":
        return api.pod_logs(deployment.id, tail, after)
    return api.worker_logs(deployment.id, worker, tail, after)


async def last_lines(api: RunPodClient, deployment: Deployment, worker: str, tail: int) -> list[LogEvent]:
    """The last lines of a pod or worker."""
    events = _events(api, deployment, worker, tail, "").__aiter__()
    lines: list[LogEvent] = []
    while len(lines) < tail:
        try:
            async with timeout(_QUIET_S if lines else 2 * _QUIET_S):
                lines.append(await events.__anext__())
        except (StopAsyncIteration, asyncio.TimeoutError):
            break
    return lines


class LogFollower:
    """Follows the logs of a pod, or of every worker that an endpoint has and gets, until it is cancelled.

    Args:
        worker: only this worker; empty for all of them.
        show: called with the id of a worker and a line.
    """

    def __init__(
        self, api: RunPodClient, deployment: Deployment, worker: str, tail: int, show: Callable[[str, LogEvent], None]
    ) -> None:
        self._api = api
        self._deployment = deployment
        self._worker = worker
        self._tail = tail
        self._show = show
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def follow(self) -> None:
        """Returns when the pod, the endpoint, or the worker that is named, is gone."""
        try:
            if self._deployment.kind == "pod":
                await self._follow_one(self._deployment.id)
            elif self._worker:
                await self._follow_one(self._worker)
            else:
                await self._follow_all()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow_all(self) -> None:
        while True:
            try:
                workers = (await self._api.workers(self._deployment.id)).workers
            except RunPodApiError as error:
                if error.status == 404:
                    return
                raise
            for worker in workers:
                if worker.id not in self._tasks:
                    self._tasks[worker.id] = asyncio.ensure_future(self._follow_one(worker.id))
            await asyncio.sleep(_WORKERS_S)

    async def _follow_one(self, worker: str) -> None:
        """A stream that breaks is taken up again where it broke."""
        after = ""
        while True:
            try:
                async for event in _events(self._api, self._deployment, worker, self._tail, after):
                    after = event.ts
                    self._show(worker, event)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                pass
            except RunPodApiError as error:
                if error.status in (404, 410):
                    return
                raise
            if not await self._is_there(worker):
                return
            await asyncio.sleep(_PAUSE_S)

    async def _is_there(self, worker: str) -> bool:
        if self._deployment.kind == "pod":
            return any(pod.id == worker and pod.status != "TERMINATED" for pod in await self._api.all_of(PODS))
        try:
            return any(each.id == worker for each in (await self._api.workers(self._deployment.id)).workers)
        except RunPodApiError as error:
            if error.status == 404:
                return False
            raise
