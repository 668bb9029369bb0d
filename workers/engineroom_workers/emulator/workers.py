"""The workers as the platform knows them: which of them poll and ping, and which jobs each holds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from .jobs import Job
from .notifications import Notification

logger = logging.getLogger(__name__)

MISSED_PINGS = 3


class ConnectedWorker:
    """One worker that has spoken to the platform, or that the emulator has started.

    jobs: the jobs that it was handed and has not finished, by id.
    jobs_to_stop: ids of jobs that the response to its next job-stop poll names.
    stop_requested: notifies when there is a job to stop.
    ping_jobs: the ids that its last ping named.
    stopping: it will be replaced and gets no more jobs.
    leaving: its polls end at once, so that it can end, or be frozen.
    unhealthy: the reason that it gave with its last ping; None for a healthy one.
    first_poll_at: seconds since the epoch; None before its first poll.
    """

    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self.jobs: dict[str, Job] = {}
        self.jobs_to_stop: list[str] = []
        self.stop_requested = Notification()
        self.polls = 0
        self.pings = 0
        self.ping_jobs: list[str] = []
        self.ping_timer: asyncio.TimerHandle | None = None
        self.stopping = False
        self.leaving = False
        self.unhealthy: str | None = None
        self.sdk_version: str | None = None
        self.first_poll_at: float | None = None

    def request_stop(self, job: Job) -> None:
        """Ask the worker to stop a job."""
        if job.id not in self.jobs_to_stop:
            self.jobs_to_stop.append(job.id)
        self.stop_requested.notify_all()

    def take_jobs_to_stop(self) -> list[str]:
        """The ids of the jobs to stop; the next call returns only those that follow."""
        job_ids = self.jobs_to_stop
        self.jobs_to_stop = []
        return job_ids

    def stop_ping_timer(self) -> None:
        if self.ping_timer is not None:
            self.ping_timer.cancel()
            self.ping_timer = None

    @property
    def state(self) -> str:
        """The state under which `/health` counts it."""
        if self.unhealthy is not None:
            return "unhealthy"
        if self.first_poll_at is None:
            return "initializing"
        return "running" if self.jobs else "idle"

    def as_dict(self) -> dict[str, Any]:
        """The worker as `/emulator/stats` shows it."""
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


class WorkerRegistry:
    """All workers that the platform knows, `by_id`. A new worker introduces itself with its first request.

    Args:
        ping_interval: seconds between two pings of a worker.
        on_lost: called with a worker that is lost, and why.
        on_first_poll: called with a worker that polls for the first time.
    """

    def __init__(
        self,
        ping_interval: float,
        on_lost: Callable[[ConnectedWorker, str], None],
        on_first_poll: Callable[[ConnectedWorker], None],
    ) -> None:
        self.by_id: dict[str, ConnectedWorker] = {}
        self._ping_interval = ping_interval
        self._on_lost = on_lost
        self._on_first_poll = on_first_poll

    def get_or_add(self, worker_id: str) -> ConnectedWorker:
        """The worker of that id, which may be a new one."""
        worker = self.by_id.get(worker_id)
        if worker is None:
            worker = ConnectedWorker(worker_id)
            self.by_id[worker_id] = worker
        return worker

    def record_poll(self, worker_id: str) -> ConnectedWorker:
        """Note that a worker polls for jobs, which makes it healthy again."""
        worker = self.get_or_add(worker_id)
        worker.polls += 1
        worker.unhealthy = None
        if worker.first_poll_at is None:
            worker.first_poll_at = time.time()
            self._on_first_poll(worker)
        return worker

    def record_ping(self, worker_id: str, query: Mapping[str, str]) -> None:
        """Note a worker's ping. From its first ping on, a worker that misses three of them is lost.

        Args:
            query: the parameters of the request, as the SDK sends them.
        """
        worker = self.get_or_add(worker_id)
        worker.sdk_version = query.get("runpod_version", worker.sdk_version)
        if query.get("status") == "unhealthy":
            worker.unhealthy = f"{query.get('check', '?')}: {query.get('reason', '?')}"
            logger.warning("worker %s is unhealthy: %s", worker_id, worker.unhealthy)
            return
        worker.pings += 1
        worker.ping_jobs = [job_id for job_id in query.get("job_id", "").split(",") if job_id]
        worker.stop_ping_timer()
        worker.ping_timer = asyncio.get_running_loop().call_later(
            MISSED_PINGS * self._ping_interval, self.remove, worker_id, f"no ping for {MISSED_PINGS} intervals"
        )

    def remove(self, worker_id: str, reason: str) -> None:
        """Forget a worker that is lost and report it. Unknown ids are fine."""
        worker = self.by_id.pop(worker_id, None)
        if worker is None:
            return
        worker.stop_ping_timer()
        self._on_lost(worker, reason)

    def counts(self) -> dict[str, int]:
        """How many workers are in each state, as `/health` shows them."""
        counts = dict.fromkeys(("idle", "initializing", "ready", "running", "throttled", "unhealthy"), 0)
        for worker in self.by_id.values():
            counts[worker.state] += 1
        counts["ready"] = counts["idle"]
        return counts

    def end_polls(self) -> None:
        """End the polls that wait for a job to stop."""
        for worker in self.by_id.values():
            worker.stop_requested.notify_all()

    def close(self) -> None:
        """End the polls that wait for a job to stop, and all timers."""
        self.end_polls()
        for worker in self.by_id.values():
            worker.stop_ping_timer()
