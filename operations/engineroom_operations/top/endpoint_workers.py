"""The workers of an endpoint of RunPod one by one, as its management API has them. To ask starts none."""

from __future__ import annotations

import time
from collections import Counter

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..terminal_text import one_line
from .reading import Reading

_INTERVAL_S = 10
"""Seconds between two requests for one endpoint, since the API allows an account few of them a minute."""


class EndpointWorkersMonitor:
    """Looks at the workers of one endpoint.

    Args:
        api: of the account; whoever opened it closes it.
    """

    def __init__(self, api: RunPodClient, endpoint_id: str) -> None:
        self._api = api
        self._endpoint_id = endpoint_id
        self._next = 0.0
        self._reading = Reading("", "", 0)

    async def fill(self, reading: Reading) -> None:
        """Add what is known of the workers; that RunPod does not tell is a reason where there is none yet."""
        if time.monotonic() >= self._next:
            self._reading = await self._look()
            self._next = time.monotonic() + _INTERVAL_S
        latest = self._reading
        reading.each_worker = latest.each_worker
        reading.workers = reading.workers or latest.workers
        reading.reason = reading.reason or latest.reason

    async def _look(self) -> Reading:
        latest = Reading("", "", time.time())
        try:
            workers = (await self._api.workers(self._endpoint_id)).workers
        except RunPodApiError as error:
            latest.reason = f"its workers are unknown: {one_line(str(error), 120)}"
            return latest
        latest.each_worker = workers
        latest.workers = dict(Counter(worker.status.lower() for worker in workers)) or {"running": 0}
        return latest
