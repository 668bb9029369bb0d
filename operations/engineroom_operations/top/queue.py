"""A queue endpoint of RunPod: what its `/health` says of jobs and workers. To ask starts no worker."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import aiohttp

from ..targets.connection import describe
from ..targets.target import RemoteTarget
from .endpoint_workers import EndpointWorkersMonitor
from .history import StateHistory
from .reading import Reading
from .server import RATE_S


class QueueMonitor:
    """Looks at one endpoint.

    Args:
        session: of `targets.connection.open_session`; whoever opened it closes it.
        workers: asks RunPod for the workers one by one; None where there is no key for that.
        look_s: seconds that a look may take.
    """

    def __init__(
        self,
        target: RemoteTarget,
        session: aiohttp.ClientSession,
        workers: EndpointWorkersMonitor | None,
        look_s: float,
    ) -> None:
        self._target = target
        self._workers = workers
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=look_s)
        self._history = StateHistory()
        self._ended: deque[tuple[float, int, int]] = deque(maxlen=100)
        """When it was looked, and the jobs that were completed and failed until then."""

    async def look(self) -> Reading:
        """The endpoint as it is now; never raises for what RunPod does."""
        reading = Reading(self._target.name, self._target.address.url, time.time())
        try:
            await self._ask(reading)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reading.state = "away"
            reading.reason = describe(error, self._target)
        except (ValueError, KeyError, TypeError, AttributeError):
            reading.state = "unknown"
            reading.reason = "its /health is not that of an endpoint of RunPod"
        reading.for_s = self._history.note(reading.state)
        if self._workers is not None:
            await self._workers.fill(reading)
        return reading

    async def _ask(self, reading: Reading) -> None:
        async with self._session.get(f"{self._target.address.url}/health", timeout=self._timeout) as response:
            if response.status != 200:
                reading.state = "unknown"
                reading.reason = _refusal(response.status, self._target)
                return
            body: Any = await response.json(content_type=None)
        reading.jobs = _counts(body["jobs"])
        reading.workers = _counts(body["workers"])
        reading.running = reading.jobs.get("inProgress", 0)
        reading.waiting = reading.jobs.get("inQueue", 0)
        self._note_ended(reading)
        serving = sum(reading.workers.get(state, 0) for state in ("ready", "idle", "running"))
        reading.state = "up" if serving else "not ready"
        if not serving:
            reading.reason = "no worker is ready; the next job starts one"
            if reading.workers.get("throttled"):
                reading.reason = "its workers wait for GPUs to be free (throttled)"
            elif reading.workers.get("initializing"):
                reading.reason = "its workers are starting"

    def _note_ended(self, reading: Reading) -> None:
        now = time.monotonic()
        completed = reading.jobs.get("completed", 0)
        failed = reading.jobs.get("failed", 0)
        self._ended.append((now, completed, failed))
        reading.errors = failed
        earlier = [each for each in self._ended if now - each[0] >= RATE_S] or [self._ended[0]]
        before, completed_before, failed_before = earlier[-1]
        if now > before:
            reading.requests_per_s = max(0, completed + failed - completed_before - failed_before) / (now - before)
            reading.errors_per_s = max(0, failed - failed_before) / (now - before)


def _counts(content: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in content.items()}


def _refusal(status: int, target: RemoteTarget) -> str:
    if status in (401, 403):
        return (
            f"RunPod refuses the key from {target.key_source}" if target.key else "RunPod wants a key: RUNPOD_API_KEY"
        )
    if status == 404:
        return f"RunPod has no endpoint {target.address.runpod_id} for this key"
    return f"RunPod answers {status}" + (": asked too often, a longer --interval helps" if status == 429 else "")
