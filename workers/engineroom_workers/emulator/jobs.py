"""A job: what the client asked for, what the worker has sent so far, and when each thing happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Literal
from uuid import uuid4

import msgspec

from .notifications import Notification

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
FINAL: Final[frozenset[Status]] = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


class JobPolicy(msgspec.Struct, rename="camel"):
    """The `policy` of a request. Times are in milliseconds; the ranges are those of RunPod's documentation."""

    execution_timeout: int | None = None
    ttl: int | None = None
    low_priority: bool = False

    def __post_init__(self) -> None:
        if self.execution_timeout is not None and self.execution_timeout <= 5000:
            raise ValueError("executionTimeout must be more than 5000 ms")
        if self.ttl is not None and not 10_000 <= self.ttl <= 604_800_000:
            raise ValueError("ttl must be between 10000 ms and one week")


class JobRequest(msgspec.Struct, rename="camel"):
    """The body of `/run` and `/runsync`."""

    input: msgspec.Raw
    policy: JobPolicy = msgspec.field(default_factory=JobPolicy)
    webhook: str | None = None
    s3_config: msgspec.Raw = msgspec.Raw()


class JobResult(msgspec.Struct, rename="camel"):
    """The body of job-done. An absent member is an empty `Raw`."""

    output: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    status: str | None = None
    stop_pod: bool = False

    @property
    def failed(self) -> bool:
        """Whether it carries an error; JSON's empty values count as none."""
        return bytes(self.error) not in (b"", b"null", b'""', b"false")


class JobChunk(msgspec.Struct):
    """The body of job-stream."""

    output: msgspec.Raw


class Job:
    """One job and its timeline; times are seconds since the epoch.

    batch_id: the batch that it belongs to, if any.
    chunks, arrivals: what job-stream POSTs brought, and the time at which each took effect.
    queued_at: when it last entered the queue.
    chunks_read: how many chunks `/stream` has handed to the client.
    changed: notifies at every chunk and every change of status.
    posts: how many POSTs the worker sent, by kind; `late` ones found the job finished.
    """

    def __init__(self, request: JobRequest, sync: bool, batch_id: str | None = None) -> None:
        self.id = f"{'sync-' if sync else ''}{uuid4()}-e1"
        self.request = request
        self.sync = sync
        self.batch_id = batch_id
        self.status: Status = "IN_QUEUE"
        self.worker: str | None = None
        self.attempts = 0
        self.output = msgspec.Raw()
        self.error = msgspec.Raw()
        self.chunks: list[msgspec.Raw] = []
        self.chunks_read = 0
        self.changed = Notification()
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.expired = False

        self.created_at = time.time()
        self.queued_at = self.created_at
        self.taken_at: float | None = None
        self.done_at: float | None = None
        self.arrivals: list[float] = []
        self.posts = {"stream": 0, "done": 0, "progress": 0, "refused": 0, "late": 0}
        self.bytes = 0

    @property
    def finished(self) -> bool:
        return self.status in FINAL

    def set_status(self, status: Status) -> None:
        """Change the status and notify those who wait for that. A final status ends all timers."""
        self.status = status
        if status in FINAL:
            self.done_at = time.time()
            self.stop_timers()
        self.changed.notify_all()

    def add_chunk(self, chunk: msgspec.Raw) -> None:
        """Add a chunk that the worker has streamed."""
        self.chunks.append(chunk)
        self.arrivals.append(time.time())
        self.changed.notify_all()

    def read_chunks(self) -> list[msgspec.Raw]:
        """The chunks that have arrived since the last call."""
        chunks = self.chunks[self.chunks_read :]
        self.chunks_read = len(self.chunks)
        return chunks

    def reset(self) -> None:
        """Make the job what it was before a worker first had it."""
        self.stop_timers()
        self.output = msgspec.Raw()
        self.error = msgspec.Raw()
        self.chunks = []
        self.arrivals = []
        self.chunks_read = 0
        self.attempts = 0
        self.worker = None
        self.taken_at = None
        self.done_at = None

    def start_timer(self, name: str, seconds: float, callback: Callable[[Job], None]) -> None:
        """Call `callback` with this job after `seconds`, unless the timer is stopped or started anew before."""
        self.stop_timer(name)
        self.timers[name] = asyncio.get_running_loop().call_later(seconds, callback, self)

    def stop_timer(self, name: str) -> None:
        timer = self.timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def stop_timers(self) -> None:
        for name in list(self.timers):
            self.stop_timer(name)

    def expire(self) -> None:
        """Drop the request and the result, which clients can no longer fetch; the timeline stays."""
        self.expired = True
        self.chunks = []
        self.output = msgspec.Raw()
        self.error = msgspec.Raw()
        self.request = JobRequest(msgspec.Raw(b"null"))

    def for_worker(self) -> dict[str, Any]:
        """The job as job-take hands it out."""
        job: dict[str, Any] = {"id": self.id, "input": self.request.input}
        if self.batch_id is not None:
            job["batchId"] = self.batch_id
        if self.request.webhook is not None:
            job["webhook"] = self.request.webhook
        if self.request.s3_config:
            job["s3Config"] = self.request.s3_config
        return job

    def for_client(self) -> dict[str, Any]:
        """The job as `/status` shows it, and `/runsync` and the webhook when it has ended."""
        state: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.batch_id is not None:
            state["batchId"] = self.batch_id
        if self.taken_at is not None:
            state["delayTime"] = round((self.taken_at - self.created_at) * 1000)
            state["workerId"] = self.worker
            if self.done_at is not None:
                state["executionTime"] = round((self.done_at - self.taken_at) * 1000)
        if self.attempts > 1:
            state["retries"] = self.attempts - 1
        if self.output:
            state["output"] = self.output
        if self.error:
            state["error"] = self.error
        return state

    def timeline(self) -> dict[str, Any]:
        """The job as `/emulator/stats` shows it."""
        return {
            "id": self.id,
            "status": self.status,
            "worker": self.worker,
            "attempts": self.attempts,
            "created_at": self.created_at,
            "taken_at": self.taken_at,
            "first_stream_at": self.arrivals[0] if self.arrivals else None,
            "done_at": self.done_at,
            "posts": self.posts,
            "bytes": self.bytes,
            "arrivals": self.arrivals,
        }
