"""Whatever clients and workers do, in whichever order: every job is in exactly one place, and ends once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from engineroom_workers.emulator.jobs import Job, JobChunk, JobRequest, JobResult, Status
from engineroom_workers.emulator.platform import Emulator

T = TypeVar("T")
WORKERS = st.sampled_from(["w1", "w2", "w3"])


class JobLifecycle(RuleBasedStateMachine):
    """The platform without its sockets, and what each job has been seen to be."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.emulator = Emulator()
        self.ended: list[str] = []
        self.emulator.on_finished.append(lambda job: self.ended.append(job.id))
        self.retried: dict[str, int] = {}

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call inside the loop, which the timers need."""

        async def calling() -> T:
            return function(*arguments)

        return self.loop.run_until_complete(calling())

    @rule(target=jobs)
    def submit(self) -> Job:
        return self.call(self.emulator.submit, JobRequest(msgspec.Raw(b"{}")))

    @rule(worker=WORKERS, max_jobs=st.integers(1, 3))
    def take(self, worker: str, max_jobs: int) -> None:
        waiting = list(self.emulator.queue)[:max_jobs]
        taken = self.call(self.emulator.take, self.emulator.workers.record_poll(worker), max_jobs)
        assert [job.id for job in taken] == waiting

    @rule(job=jobs)
    def stream(self, job: Job) -> None:
        before, finished = len(job.chunks), job.finished
        self.call(self.emulator.receive_chunk, job, JobChunk(msgspec.Raw(b"1")).output)
        assert len(job.chunks) == before + (not finished)

    @rule(job=jobs, result=st.sampled_from([b'{"output": 1}', b'{"error": "e"}', b'{"status": "IN_PROGRESS"}']))
    def done(self, job: Job, result: bytes) -> None:
        before: Status = job.status
        self.call(self.emulator.receive_result, job, msgspec.json.decode(result, type=JobResult))
        assert before == job.status or not self.was_final(before)

    @rule(job=jobs)
    def cancel(self, job: Job) -> None:
        before: Status = job.status
        self.call(self.emulator.cancel, job)
        assert job.status == (before if self.was_final(before) else "CANCELLED")

    @rule(job=jobs)
    def retry(self, job: Job) -> None:
        if self.call(self.emulator.retry, job):
            self.retried[job.id] = self.retried.get(job.id, 0) + 1
            assert (job.status, job.chunks) == ("IN_QUEUE", [])

    @rule(job=jobs)
    def redeliver(self, job: Job) -> None:
        self.call(self.emulator.redeliver, job, "lost")

    @rule(worker=WORKERS)
    def lose(self, worker: str) -> None:
        self.call(self.emulator.workers.remove, worker, "gone")

    @rule()
    def purge(self) -> None:
        waiting = len(self.emulator.queue)
        assert self.call(self.emulator.purge) == waiting

    @staticmethod
    def was_final(status: Status) -> bool:
        return status in ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        for job in self.emulator.jobs.values():
            holders = [worker for worker in self.emulator.workers.by_id.values() if job.id in worker.jobs]
            places = {"IN_QUEUE": (1, 0), "IN_PROGRESS": (0, 1)}.get(job.status, (0, 0))
            assert (job.id in self.emulator.queue, len(holders)) == places
            assert self.ended.count(job.id) == job.finished + self.retried.get(job.id, 0)

    @invariant()
    def only_unfinished_jobs_have_time_limits(self) -> None:
        wanted = {"IN_QUEUE": {"ttl"}, "IN_PROGRESS": {"ttl", "execution"}}
        for job in self.emulator.jobs.values():
            assert set(job.timers) == wanted.get(job.status, {"expiry"})

    def teardown(self) -> None:
        self.emulator.close()
        self.loop.close()


TestLifecycle = JobLifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=40)
