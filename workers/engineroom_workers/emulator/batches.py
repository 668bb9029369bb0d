"""Batch jobs: many requests under one name, drafted first, then worked on where no other job waits (RunPod's beta)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import uuid4

from .jobs import Job, JobRequest

BatchStatus = Literal["DRAFT", "FINALIZED", "CANCELLED"]

MAX_BATCHES: Final = 10
"""Batches of an endpoint that are not done."""
MAX_REQUESTS: Final = 5000
"""Requests of one batch."""


class BatchRefused(Exception):
    """The batch does not take this; the text says why."""


class Batch:
    """One batch. There is no state for its end: it is done when each of its requests has completed or failed.

    requests: what a draft holds, by the id of each request.
    jobs: the jobs that these became, by id, once the batch is finalized.
    cancelled: whether a client cancelled it; jobs that a worker had then still finish.
    """

    def __init__(self, name: str | None) -> None:
        self.id = f"batch_{uuid4().hex[:12]}"
        self.name = name
        self.created_at = time.time()
        self.finalized_at: float | None = None
        self.requests: dict[str, JobRequest] = {}
        self.jobs: dict[str, Job] = {}
        self.cancelled = False

    @property
    def status(self) -> BatchStatus:
        if self.cancelled:
            return "CANCELLED"
        return "DRAFT" if self.finalized_at is None else "FINALIZED"

    @property
    def done(self) -> bool:
        """Whether nothing of it is left to do."""
        if self.cancelled:
            return True
        return self.finalized_at is not None and all(job.finished for job in self.jobs.values())

    def add(self, requests: Sequence[JobRequest]) -> None:
        """Add requests to a draft: all, or none.

        Raises:
            BatchRefused: it is no draft any more, or would be too large.
        """
        self.check_draft()
        if len(self.requests) + len(requests) > MAX_REQUESTS:
            raise BatchRefused(f"a batch takes at most {MAX_REQUESTS} requests")
        self.requests.update((f"req_{uuid4().hex[:12]}", request) for request in requests)

    def check_draft(self) -> None:
        """Raise BatchRefused unless this is still a draft."""
        if self.status != "DRAFT":
            raise BatchRefused(f"the batch is {self.status}; only a DRAFT can be changed")

    def begin(self, jobs: Sequence[Job]) -> None:
        """Note the jobs that its requests became."""
        self.finalized_at = time.time()
        self.jobs = {job.id: job for job in jobs}
        self.requests = {}

    def summary(self, endpoint_id: str) -> dict[str, Any]:
        """The batch as its clients see it; times are seconds since the epoch."""
        states = [job.status for job in self.jobs.values()]
        completed = states.count("COMPLETED")
        return {
            "id": self.id,
            "name": self.name,
            "endpointId": endpoint_id,
            "status": self.status,
            "requestTotal": len(self.jobs) or len(self.requests),
            "requestInProgress": states.count("IN_PROGRESS"),
            "requestCompleted": completed,
            "requestFailed": sum(job.finished for job in self.jobs.values()) - completed,
            "createdAt": self.created_at,
            "finalizedAt": self.finalized_at,
        }

    def request_states(self) -> list[Mapping[str, Any]]:
        """Each request as its clients see it, with its output once it has one."""
        if self.finalized_at is None:
            return [{"id": request_id, "status": "DRAFT"} for request_id in self.requests]
        return [job.for_client() for job in self.jobs.values()]


class Batches(dict[str, Batch]):
    """All batches of an endpoint by id, oldest first."""

    def create(self, name: str | None, requests: Sequence[JobRequest]) -> Batch:
        """A new draft. Raises BatchRefused where there are too many batches or requests."""
        if sum(not batch.done for batch in self.values()) >= MAX_BATCHES:
            raise BatchRefused(f"an endpoint takes at most {MAX_BATCHES} batches that are not done")
        batch = Batch(name)
        batch.add(requests)
        self[batch.id] = batch
        return batch
