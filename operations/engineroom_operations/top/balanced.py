"""A load-balancing endpoint of RunPod. Any request to it starts a worker or keeps one running, which is billed."""

from __future__ import annotations

import time

from ..targets.target import RemoteTarget
from .endpoint_workers import EndpointWorkersMonitor
from .history import StateHistory
from .reading import Reading
from .server import ServerMonitor

_SERVING = ("running", "idle")


class BalancedMonitor:
    """Looks at one endpoint.

    Args:
        workers: asks RunPod for its workers; None where there is no key for that.
        server: looks at the workers' own metrics; None where nobody may ask them.
    """

    def __init__(
        self, target: RemoteTarget, workers: EndpointWorkersMonitor | None, server: ServerMonitor | None
    ) -> None:
        self._target = target
        self._workers = workers
        self._server = server
        self._history = StateHistory()

    async def look(self) -> Reading:
        """The endpoint as it is now."""
        if self._server is not None:
            reading = await self._server.look()
            if self._workers is not None:
                await self._workers.fill(reading)
            return reading
        reading = Reading(self._target.name, self._target.address.url, time.time())
        if self._workers is not None:
            await self._workers.fill(reading)
            if reading.workers:
                serving = sum(reading.workers.get(state, 0) for state in _SERVING)
                reading.state = "up" if serving else "not ready"
                reading.reason = "" if serving else "no worker is ready; the next request starts one"
                reading.for_s = self._history.note(reading.state)
        if reading.state != "not ready":
            reading.reason = reading.reason or (
                "only its workers are shown: to ask them for more would keep them running, at your cost (--wake asks)"
            )
        return reading
