"""The platform: the queue, what may happen to a job, and the rules that a worker cannot bend."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from .batches import Batch, Batches
from .faults import Faults
from .jobs import Job, JobRequest, JobResult, Status
from .notifications import Notification
from .options import EndpointOptions
from .workers import ConnectedWorker, WorkerRegistry

logger = logging.getLogger(__name__)

KEPT_JOBS = 10_000
"""How many jobs are kept; beyond that the oldest finished one makes room for each new one."""
RUN_EXPIRY_S = 30 * 60.0
"""How long the result of a `/run` job can be fetched (RunPod's documentation)."""
RUNSYNC_EXPIRY_S = 60.0
"""How long the result of a `/runsync` job can be fetched (RunPod's documentation)."""


class Emulator:
    """One emulated endpoint. It lives in one event loop; `close` ends its timers.

    A job is in the queue, or with a worker, or finished::

        submit ──> IN_QUEUE ──take──> IN_PROGRESS ──result──> COMPLETED or FAILED
                      │  ^                │  │
                      │  └───redeliver────┘  │
                      └────cancel, timeout───┴──────────────> CANCELLED or TIMED_OUT

    options: may be replaced at run time; what has begun keeps the old ones.
    faults: may be changed at run time.
    workers: all workers that the platform knows.
    jobs: every job by id, oldest first.
    queue: the jobs that wait for a worker by id, the next one first.
    batch_queue: likewise the jobs of batches, which go to a worker only where no other job waits.
    batches: all batches by id.
    job_available: notifies one poll when a job enters the queue.
    counts: how many jobs `completed`, `failed` and were `retried` so far, as `/health` shows them.
    on_finished: functions called with every job as it ends.
    on_first_poll: functions called with every worker as it polls for the first time.
    on_stop_pod: called with the id of a worker whose result asks for `stopPod`.
    """

    def __init__(self, options: EndpointOptions | None = None, faults: Faults | None = None) -> None:
        self.options = options or EndpointOptions()
        self.faults = faults or Faults()
        self.workers = WorkerRegistry(self.options.ping_interval, self._worker_lost, self._first_poll)
        self.jobs: dict[str, Job] = {}
        self.counts = {"completed": 0, "failed": 0, "retried": 0}
        self.on_finished: list[Callable[[Job], None]] = []
        self.on_first_poll: list[Callable[[ConnectedWorker], None]] = []
        self.on_stop_pod: Callable[[str], None] = _cannot_replace
        self.queue: dict[str, Job] = {}
        self.batch_queue: dict[str, Job] = {}
        self.batches = Batches()
        self.job_available = Notification()
        self.ending = False
        self.retired = False
        self.closed = False

    def end_polls(self) -> None:
        """Answer all polls, now and from now on, with nothing, so that workers that wait for them can end."""
        self.ending = True
        self.job_available.notify_all()
        self.workers.end_polls()

    def dismiss(self, worker: ConnectedWorker) -> None:
        """Give a worker no more jobs, and answer its polls with nothing, so that it can end."""
        worker.stopping = True
        worker.leaving = True
        self.job_available.notify_all()
        worker.stop_requested.notify_all()

    def retire(self) -> None:
        """Serve no client any more; workers can still end."""
        self.retired = True
        self.end_polls()

    def close(self) -> None:
        """End every request that waits, and all timers."""
        self.closed = True
        self.workers.close()
        self.job_available.notify_all()
        for job in self.jobs.values():
            job.stop_timers()
            job.changed.notify_all()

    # What clients may do

    def submit(self, request: JobRequest, *, sync: bool = False, batch_id: str | None = None) -> Job:
        """Queue a new job.

        Args:
            sync: whether the client waits for the result, which is then kept for a shorter time.
            batch_id: the batch that it belongs to.
        """
        job = Job(request, sync, batch_id)
        self._make_room()
        self.jobs[job.id] = job
        self._enter_queue(job)
        return job

    def find(self, job_id: str) -> Job | None:
        """The job, unless it is unknown or its result has expired."""
        job = self.jobs.get(job_id)
        return None if job is None or job.expired else job

    async def wait_finished(self, job: Job) -> None:
        """Wait until the job has ended, or the emulator closes."""
        await job.changed.wait_for(lambda: job.finished or self.closed)

    def cancel(self, job: Job) -> None:
        """End a job because a client asked for it; a finished one stays as it is."""
        self._finish(job, "CANCELLED")

    def retry(self, job: Job) -> bool:
        """Queue a FAILED or TIMED_OUT job again. Returns false for any other job, and does nothing then."""
        if job.status not in ("FAILED", "TIMED_OUT"):
            return False
        job.reset()
        self.counts["retried"] += 1
        self._enter_queue(job)
        return True

    def purge(self) -> int:
        """Cancel all jobs in the queue. Returns how many there were."""
        queued = list(self.queue.values())
        for job in queued:
            self._finish(job, "CANCELLED")
        return len(queued)

    def finalize(self, batch: Batch) -> None:
        """Queue the requests of a batch, which takes no more."""
        batch.begin([self.submit(request, batch_id=batch.id) for request in batch.requests.values()])

    def cancel_batch(self, batch: Batch) -> None:
        """Cancel the jobs of a batch that wait; those that a worker has go on."""
        batch.cancelled = True
        for job in batch.jobs.values():
            if job.status == "IN_QUEUE":
                self._finish(job, "CANCELLED")

    def in_progress(self) -> int:
        """How many jobs are with a worker."""
        return sum(job.status == "IN_PROGRESS" for job in self.jobs.values())

    # What workers may do

    @property
    def jobs_wait(self) -> bool:
        """Whether there is a job for the next worker that asks."""
        return bool(self.queue or self.batch_queue)

    def take(self, worker: ConnectedWorker, max_jobs: int) -> list[Job]:
        """Hand a worker the next jobs of the queue, at most `max_jobs`."""
        taken = [self.queue.pop(job_id) for job_id in list(islice(self.queue, max_jobs))]
        taken += [self.batch_queue.pop(job_id) for job_id in list(islice(self.batch_queue, max_jobs - len(taken)))]
        for job in taken:
            job.attempts += 1
            job.worker = worker.id
            job.taken_at = time.time()
            worker.jobs[job.id] = job
            own_timeout = job.request.policy.execution_timeout
            timeout = self.options.execution_timeout if own_timeout is None else own_timeout / 1000
            job.start_timer("execution", timeout, self._time_out)
            job.set_status("IN_PROGRESS")
        for job in taken:
            if job.attempts == 1 and self.faults.strikes("redeliver"):
                self._enqueue(job, first=True)
        return taken

    def receive_chunk(self, job: Job, output: msgspec.Raw) -> None:
        """Add what a job-stream POST brought, unless the job has ended."""
        if job.finished:
            job.posts["late"] += 1
        else:
            job.add_chunk(output)

    def receive_result(self, job: Job, result: JobResult) -> None:
        """Apply what a job-done POST brought, unless the job has ended: only the first final result counts."""
        if job.finished:
            job.posts["late"] += 1
        elif result.status == "IN_PROGRESS":
            job.posts["progress"] += 1
            job.output = result.output
            job.changed.notify_all()
        elif result.failed:
            job.output = result.output
            job.error = result.error
            self._finish(job, "FAILED", stop_workers=False)
        else:
            job.output = result.output
            job.error = msgspec.Raw()
            self._finish(job, "COMPLETED", stop_workers=False)

    def redeliver(self, job: Job, reason: str) -> bool:
        """Put a job that a worker holds back into the queue, or fail it after too many attempts.

        Returns:
            False if no worker holds the job; nothing changes then.
        """
        if job.status != "IN_PROGRESS":
            return False
        self._take_back(job)
        if job.attempts >= self.options.max_attempts:
            job.error = msgspec.Raw(msgspec.json.encode(f"{reason}; handed out {job.attempts} times"))
            self._finish(job, "FAILED")
            return True
        self.counts["retried"] += 1
        self._enqueue(job, first=True)
        return True

    def _worker_lost(self, worker: ConnectedWorker, reason: str) -> None:
        if worker.jobs:
            logger.warning("worker %s is gone (%s) with %d jobs in progress", worker.id, reason, len(worker.jobs))
        for job in list(worker.jobs.values()):
            self.redeliver(job, f"the worker was lost: {reason}")

    def _first_poll(self, worker: ConnectedWorker) -> None:
        for listener in self.on_first_poll:
            listener(worker)

    # How a job moves

    def _enter_queue(self, job: Job) -> None:
        own_ttl = job.request.policy.ttl
        job.start_timer("ttl", self.options.ttl if own_ttl is None else own_ttl / 1000, self._time_out)
        self._enqueue(job)

    def _enqueue(self, job: Job, first: bool = False) -> None:
        job.stop_timer("execution")
        job.queued_at = time.time()
        if job.batch_id is not None:
            self.batch_queue[job.id] = job
        elif first:
            self.queue = {job.id: job, **self.queue}
        else:
            self.queue[job.id] = job
        job.set_status("IN_QUEUE")
        self.job_available.notify_one()

    def _time_out(self, job: Job) -> None:
        job.error = msgspec.Raw(b'"job timed out"')
        self._finish(job, "TIMED_OUT")

    def _finish(self, job: Job, status: Status, stop_workers: bool = True) -> None:
        """End a job, once.

        Args:
            stop_workers: whether workers that hold the job are asked to stop it. One that sent the result is not.
        """
        if job.finished:
            return
        self.queue.pop(job.id, None)
        self.batch_queue.pop(job.id, None)
        holders = self._take_back(job)
        if stop_workers:
            for worker in holders:
                worker.request_stop(job)
        job.set_status(status)
        if status == "COMPLETED":
            self.counts["completed"] += 1
        elif status != "CANCELLED":
            self.counts["failed"] += 1
        job.start_timer("expiry", RUNSYNC_EXPIRY_S if job.sync else RUN_EXPIRY_S, Job.expire)
        self.notify_finished(job)

    def notify_finished(self, job: Job) -> None:
        """Tell everyone who wants to know that a job has ended."""
        for listener in self.on_finished:
            listener(job)

    def _take_back(self, job: Job) -> list[ConnectedWorker]:
        """Take the job from the workers that hold it. A redelivered one may be with several."""
        holders = [worker for worker in self.workers.by_id.values() if job.id in worker.jobs]
        for worker in holders:
            del worker.jobs[job.id]
        return holders

    def _make_room(self) -> None:
        if len(self.jobs) < KEPT_JOBS:
            return
        oldest = next((job for job in self.jobs.values() if job.finished), None)
        if oldest is not None:
            oldest.stop_timers()
            del self.jobs[oldest.id]

    def stats(self) -> dict[str, Any]:
        """The whole state, for tests and benchmarks."""
        return {
            "counts": {
                **self.counts,
                "inQueue": len(self.queue) + len(self.batch_queue),
                "inProgress": self.in_progress(),
            },
            "faults": self.faults.as_dict(),
            "workers": [worker.as_dict() for worker in self.workers.by_id.values()],
            "jobs": [job.timeline() for job in self.jobs.values()],
        }


def _cannot_replace(worker_id: str) -> None:
    logger.warning("worker %s asked to be replaced (stopPod), but the emulator did not start it", worker_id)
