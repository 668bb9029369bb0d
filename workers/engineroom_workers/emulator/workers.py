"""The workers as the platform knows them: who polls, who pings, who holds which job, whom to tell to stop one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from .bell import Bell
from .jobs import Job

logger = logging.getLogger(__name__)

MISSED_PINGS = 3


class Worker:
    """One worker.

    jobs: those handed to it and not finished, by id.
    stops: ids that its next job-stop poll is told.
    ping_jobs: the ids that its last ping named.
    stopping: it will be replaced and gets no more jobs.
    """

    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self.jobs: dict[str, Job] = {}
        self.stops: list[str] = []
        self.stop_bell = Bell()
        self.polls = 0
        self.pings = 0
        self.ping_jobs: list[str] = []
        self.ping_timer: asyncio.TimerHandle | None = None
        self.stopping = False
        self.unhealthy: str | None = None
        self.sdk_version: str | None = None
        self.first_poll_at: float | None = None

    def tell_to_stop(self, job: Job) -> None:
        if job.id not in self.stops:
            self.stops.append(job.id)
        self.stop_bell.ring()

    @property
    def state(self) -> str:
        """As `/health` counts it."""
        if self.unhealthy is not None:
            return "unhealthy"
        if self.first_poll_at is None:
            return "initializing"
        return "running" if self.jobs else "idle"

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "state": self.state,
            "unhealthy": self.unhealthy,
            "jobs": list(self.jobs),
            "polls": self.polls,
            "pings": self.pings,
            "ping_jobs": self.ping_jobs,
            "sdk_version": self.sdk_version,
            "first_poll_at": self.first_poll_at,
        }


class Fleet:
    """All workers that are there.

    Args:
        ping_interval: seconds between two pings of a worker.
        lost: called with a worker that has gone, and why.
        ready: called with a worker that polls for the first time.
    """

    def __init__(
        self, ping_interval: float, lost: Callable[[Worker, str], None], ready: Callable[[Worker], None]
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self._ping_interval = ping_interval
        self._lost = lost
        self._ready = ready

    def known(self, worker_id: str) -> Worker:
        """The worker of that id; a new one introduces itself by speaking."""
        worker = self.workers.get(worker_id)
        if worker is None:
            worker = self.workers[worker_id] = Worker(worker_id)
        return worker

    def polled(self, worker_id: str) -> Worker:
        worker = self.known(worker_id)
        worker.polls += 1
        worker.unhealthy = None
        if worker.first_poll_at is None:
            worker.first_poll_at = time.time()
            self._ready(worker)
        return worker

    def pinged(self, worker_id: str, query: dict[str, str]) -> None:
        """Note a ping. From the first on, its absence means that the worker is gone."""
        worker = self.known(worker_id)
        worker.sdk_version = query.get("runpod_version", worker.sdk_version)
        if query.get("status") == "unhealthy":
            worker.unhealthy = f"{query.get('check', '?')}: {query.get('reason', '?')}"
            logger.warning("worker %s is unhealthy: %s", worker_id, worker.unhealthy)
            return
        worker.pings += 1
        worker.ping_jobs = [job for job in query.get("job_id", "").split(",") if job]
        if worker.ping_timer:
            worker.ping_timer.cancel()
        worker.ping_timer = asyncio.get_running_loop().call_later(
            MISSED_PINGS * self._ping_interval, self.lose, worker_id, f"no ping for {MISSED_PINGS} intervals"
        )

    def lose(self, worker_id: str, reason: str) -> None:
        """Forget a worker and have its jobs looked after. Unknown ids are fine."""
        worker = self.workers.pop(worker_id, None)
        if worker is None:
            return
        if worker.ping_timer:
            worker.ping_timer.cancel()
        self._lost(worker, reason)

    def counts(self) -> dict[str, int]:
        """How many there are in each state, as `/health` tells."""
        counts = dict.fromkeys(("idle", "initializing", "ready", "running", "throttled", "unhealthy"), 0)
        for worker in self.workers.values():
            counts[worker.state] += 1
        counts["ready"] = counts["idle"]
        return counts

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop_bell.ring()
            if worker.ping_timer:
                worker.ping_timer.cancel()
