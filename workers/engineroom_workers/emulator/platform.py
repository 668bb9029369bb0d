"""The platform: the queue, every job's way through it, and the rules that a worker cannot bend."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from .bell import Bell
from .faults import Faults
from .jobs import Job, JobRequest, Result, Status
from .workers import Fleet, Worker

logger = logging.getLogger(__name__)

KEPT_JOBS = 10_000
"""How many finished jobs' timelines are kept."""
KEEP_RUN, KEEP_RUNSYNC = 30 * 60.0, 60.0
"""Seconds for which a result can be fetched (RunPod's documentation)."""


class Emulator:
    """One emulated endpoint. Lives in one event loop; `close` ends its timers.

    faults: change them as you like.
    jobs: every job by id, oldest first.
    counts: jobs `completed`, `failed` and `retried` so far, as `/health` tells.
    on_finished: each is called with every job as it ends.
    on_ready: each is called with every worker as it polls for the first time.
    on_stop_pod: called with the id of a worker whose result asked for `stopPod`.
    """

    def __init__(self, options: Options | None = None, faults: Faults | None = None) -> None:
        self.options = options or Options()
        self.faults = faults or Faults()
        self.fleet = Fleet(self.options.ping_interval, self._lost, self._ready)
        self.jobs: dict[str, Job] = {}
        self.counts = {"completed": 0, "failed": 0, "retried": 0}
        self.on_finished: list[Callable[[Job], None]] = []
        self.on_ready: list[Callable[[Worker], None]] = []
        self.on_stop_pod: Callable[[str], None] = lambda worker_id: logger.warning(
            "worker %s asked to be replaced (stopPod), but it was not started here", worker_id
        )
        self.queue: dict[str, Job] = {}
        self.queued = Bell()
        self.closed = False

    def close(self) -> None:
        """Answer everybody who waits, and end all timers."""
        self.closed = True
        self.fleet.close()
        self.queued.ring()
        for job in self.jobs.values():
            job.stop_timers()
            job.changed.ring()

    # The client's side

    def submit(self, request: JobRequest, *, sync: bool = False) -> Job:
        """Queue a new job."""
        job = Job(request, sync)
        self._forget_old()
        self.jobs[job.id] = job
        self._enter_queue(job)
        return job

    def find(self, job_id: str) -> Job | None:
        """The job, unless it is unknown or its result has expired."""
        job = self.jobs.get(job_id)
        return None if job is None or job.expired else job

    async def wait_finished(self, job: Job) -> None:
        """Wait until a job is finished, or the emulator closes."""
        while not (job.finished or self.closed):
            await job.changed.wait()

    def cancel(self, job: Job) -> None:
        """End a job on a client's wish; a finished one stays as it is."""
        self._end(job, "CANCELLED")

    def retry(self, job: Job) -> bool:
        """Queue a failed or timed-out job again; false for any other."""
        if job.status not in ("FAILED", "TIMED_OUT"):
            return False
        job.reset()
        self.counts["retried"] += 1
        self._enter_queue(job)
        return True

    def purge(self) -> int:
        """Remove all jobs that wait; returns how many."""
        waiting = list(self.queue.values())
        for job in waiting:
            self._end(job, "CANCELLED")
        return len(waiting)

    def in_progress(self) -> int:
        return sum(job.status == "IN_PROGRESS" for job in self.jobs.values())

    # The worker's side

    def take(self, worker: Worker, most: int) -> list[Job]:
        """Hand up to `most` waiting jobs to a worker."""
        taken = [self.queue.pop(job_id) for job_id in list(islice(self.queue, most))]
        for job in taken:
            job.attempts += 1
            job.worker = worker.id
            job.taken_at = time.time()
            worker.jobs[job.id] = job
            policy = job.request.policy.execution_timeout
            job.start_timer(
                "execution", self.options.execution_timeout if policy is None else policy / 1000, self._timed_out
            )
            job.enter("IN_PROGRESS")
        for job in taken:
            if job.attempts == 1 and self.faults.strikes("redeliver"):
                self._enqueue(job, first=True)
        return taken

    def receive_chunk(self, job: Job, output: msgspec.Raw) -> None:
        """Take what a job-stream POST brought; a finished job's is dropped."""
        if job.finished:
            job.posts["late"] += 1
        else:
            job.add(output)

    def receive_result(self, job: Job, result: Result) -> None:
        """Take what a job-done POST brought; only the first final one counts."""
        if job.finished:
            job.posts["late"] += 1
            return
        if result.status == "IN_PROGRESS":
            job.posts["progress"] += 1
            job.output = result.output
            job.changed.ring()
            return
        job.output, job.error = result.output, result.error if result.failed else msgspec.Raw()
        self._end(job, "FAILED" if result.failed else "COMPLETED", tell_worker=False)

    def redeliver(self, job: Job, reason: str) -> bool:
        """Put a job that a worker holds back into the queue; false for one that no worker holds."""
        if job.status != "IN_PROGRESS":
            return False
        self._release(job)
        if job.attempts >= self.options.max_attempts:
            job.error = msgspec.Raw(msgspec.json.encode(f"{reason}; handed out {job.attempts} times"))
            self._end(job, "FAILED")
            return True
        self.counts["retried"] += 1
        self._enqueue(job, first=True)
        return True

    def _lost(self, worker: Worker, reason: str) -> None:
        if worker.jobs:
            logger.warning("worker %s is gone (%s) with %d jobs in progress", worker.id, reason, len(worker.jobs))
        for job in list(worker.jobs.values()):
            self.redeliver(job, f"the worker was lost: {reason}")

    def _ready(self, worker: Worker) -> None:
        for listener in self.on_ready:
            listener(worker)

    # Every job's way

    def _enter_queue(self, job: Job) -> None:
        ttl = job.request.policy.ttl
        job.start_timer("ttl", self.options.ttl if ttl is None else ttl / 1000, self._timed_out)
        self._enqueue(job)

    def _enqueue(self, job: Job, first: bool = False) -> None:
        job.stop_timer("execution")
        self.queue[job.id] = job
        if first:
            self.queue = {job.id: job, **self.queue}
        job.enter("IN_QUEUE")
        self.queued.ring_one()

    def _timed_out(self, job: Job) -> None:
        job.error = msgspec.Raw(b'"job timed out"')
        self._end(job, "TIMED_OUT")

    def _end(self, job: Job, status: Status, tell_worker: bool = True) -> None:
        if job.finished:
            return
        self.queue.pop(job.id, None)
        holders = self._release(job)
        if tell_worker:
            for worker in holders:
                worker.tell_to_stop(job)
        job.enter(status)
        if status != "CANCELLED":
            self.counts["completed" if status == "COMPLETED" else "failed"] += 1
        job.start_timer("expiry", KEEP_RUNSYNC if job.sync else KEEP_RUN, Job.expire)
        for listener in self.on_finished:
            listener(job)

    def _release(self, job: Job) -> list[Worker]:
        """Take the job from every worker that holds it; a redelivered one may be with several."""
        holders = [worker for worker in self.fleet.workers.values() if job.id in worker.jobs]
        for worker in holders:
            del worker.jobs[job.id]
        return holders

    def _forget_old(self) -> None:
        if len(self.jobs) < KEPT_JOBS:
            return
        oldest = next((job for job in self.jobs.values() if job.finished), None)
        if oldest is not None:
            oldest.stop_timers()
            del self.jobs[oldest.id]

    def stats(self) -> dict[str, Any]:
        """All there is to know, for tests and benchmarks."""
        return {
            "counts": {**self.counts, "inQueue": len(self.queue), "inProgress": self.in_progress()},
            "faults": self.faults.as_dict(),
            "workers": [worker.as_dict() for worker in self.fleet.workers.values()],
            "jobs": [job.timeline() for job in self.jobs.values()],
        }


MB = 1024 * 1024

MAX_RUN = 10 * MB
"""Largest body of `/run` (RunPod's documentation)."""
MAX_RUNSYNC = 20 * MB
"""Largest body of `/runsync` (RunPod's documentation); `/openai/*` is held to the same."""
MAX_CHUNK = 1 * MB
"""Largest body of one job-stream POST (RunPod's documentation)."""
MAX_RESULT = 20 * MB
"""Largest body of a job-done POST; above it the platform answers 400 (worker-comfyui#129)."""

HOLD_S = 10.0
"""How long a poll is held by default. The platform's value is not known; the SDK waits for 90 s."""


@dataclass(frozen=True, slots=True)
class Options:
    """One emulated endpoint. All times are seconds.

    endpoint_id: the `<id>` of `/v2/<id>/...`.
    api_key: the key that clients must send; None takes any client.
    hold: how long job-take and job-stop keep a poll open before they answer 204.
    execution_timeout: how long a worker may work on a job, unless its `policy` says otherwise.
    ttl: how long a job may exist unfinished, unless its `policy` says otherwise.
    ping_interval: what workers are told to keep to; one that pinged and then misses three is gone. The SDK counts
        whole seconds, so at least 1.
    max_attempts: how often a job is handed out in all before a vanishing worker makes it FAILED.
    limits: whether the platform's rate limits are enforced.
    """

    endpoint_id: str = "emulated"
    api_key: str | None = None
    hold: float = HOLD_S
    execution_timeout: float = 600.0
    ttl: float = 86_400.0
    ping_interval: float = 10.0
    max_attempts: int = 3
    limits: bool = False
