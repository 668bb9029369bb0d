"""The routes that a worker's SDK speaks to. Plain ASGI: a busy worker sends thousands of POSTs a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec

from engineroom.asgi import ClientDisconnected, Receive, Scope, Send, disconnected, send_body

from ..http import BodyTooLarge, read_body, send_error, send_json, send_no_content
from ..jobs import Job, JobChunk, JobResult
from ..limits import MAX_CHUNK, MAX_RESULT
from ..notifications import Notification
from ..options import HungUpPoll
from ..platform import Emulator
from ..workers import ConnectedWorker

logger = logging.getLogger(__name__)

ENDING_PAUSE_S = 0.05
"""How long a poll is held that comes while the emulator ends its workers."""
PROXY_NOTICES_S = 0.5
"""How long the platform takes to hear from a proxy that a poll was hung up."""

T = TypeVar("T")
RouteHandler = Callable[[Scope, Receive, Send, list[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class JobPost(Generic[T]):
    """A kind of POST that brings something for a job.

    noun: what it brings, for error messages.
    max_bytes: the largest body that the platform takes.
    fault: the injected fault that may strike it.
    apply: called with the job, what the POST brought, and the worker's id.
    """

    noun: str
    decoder: msgspec.json.Decoder[T]
    max_bytes: int
    fault: str
    apply: Callable[[Job, T, str], None]


class WorkerRoutes:
    """`job-take[-batch]/<worker>`, `job-stream|job-done/<worker>/<job>`, `job-stop/<worker>`, `ping/<worker>`."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        chunk = JobPost("chunk", msgspec.json.Decoder(JobChunk), MAX_CHUNK, "fail_stream", self._apply_chunk)
        result = JobPost("result", msgspec.json.Decoder(JobResult), MAX_RESULT, "fail_done", self._apply_result)
        self._handlers: dict[tuple[str, str, int], RouteHandler] = {
            ("GET", "job-take", 1): self.take_one,
            ("GET", "job-take-batch", 1): self.take_batch,
            ("GET", "job-stop", 1): self.stop,
            ("GET", "ping", 1): self.ping,
            ("POST", "job-stream", 2): partial(self._receive, chunk),
            ("POST", "job-done", 2): partial(self._receive, result),
        }

    def find(self, method: str, path: list[str]) -> RouteHandler | None:
        """The handler of a path `[route, worker, ...]`, the part that follows the endpoint's id."""
        return self._handlers.get((method, path[0], len(path) - 1))

    async def take_one(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        await self._take(receive, send, path[1], 1, batch=False)

    async def take_batch(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        size = query_parameters(scope).get("batch_size", "1")
        if not size.isdecimal() or int(size) < 1:
            await send_error(send, 400, "batch_size must be a positive number")
            return
        await self._take(receive, send, path[1], int(size), batch=True)

    async def _take(self, receive: Receive, send: Send, worker_id: str, max_jobs: int, *, batch: bool) -> None:
        emulator = self.emulator
        worker = emulator.workers.record_poll(worker_id)
        for fault, status in (("take_429", 429), ("fail_take", 500), ("take_400", 400)):
            if emulator.faults.strikes(fault):
                await send_error(send, status, f"injected: {fault}")
                return
        if worker.stopping:
            # It gets no more jobs, but its poll is held like any other: else it would poll again at once.
            await self._hold(receive, worker, Notification(), lambda: False)
            await send_no_content(send)
            return
        hung_up = emulator.options.hung_up_poll
        if not await self._hold(receive, worker, emulator.job_available, lambda: emulator.jobs_wait, hung_up):
            await send_no_content(send)
            return
        # While the poll was held, the worker may have been lost, or have asked to be replaced.
        lost = emulator.workers.by_id.get(worker_id) is not worker
        jobs = [] if lost or worker.stopping else [job.for_worker() for job in emulator.take(worker, max_jobs)]
        if emulator.jobs_wait:
            # A notification wakes one poll only: what this one left in the queue is for the next.
            emulator.job_available.notify_one()
        if not jobs:
            await send_no_content(send)
        elif batch:
            await send_json(send, 200, jobs)
        else:
            await send_json(send, 200, jobs[0])

    async def stop(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        """Answer a job-stop poll with the jobs that the worker is to stop."""
        worker = self.emulator.workers.get_or_add(path[1])
        if await self._hold(receive, worker, worker.stop_requested, lambda: bool(worker.jobs_to_stop)):
            await send_json(send, 200, {"jobsToStop": worker.take_jobs_to_stop()})
        else:
            await send_no_content(send)

    async def _hold(
        self,
        receive: Receive,
        worker: ConnectedWorker,
        notification: Notification,
        ready: Callable[[], bool],
        hung_up: HungUpPoll = "keep",
    ) -> bool:
        """Keep a poll open until there is something to answer.

        Args:
            notification: wakes this poll when `ready` may have become true.
            hung_up: what becomes of the poll when the worker closes its half of the connection.

        Returns:
            False if the time was up first, the worker hung up or leaves, or the emulator ends.
        """
        emulator = self.emulator

        def ending() -> bool:
            return emulator.closed or emulator.ending or worker.leaving

        def ready_or_ending() -> bool:
            return ready() or ending()

        if emulator.ending or worker.leaving:
            await asyncio.sleep(ENDING_PAUSE_S)
            return False
        if ready():
            return True
        deadline = time.monotonic() + emulator.options.hold
        leaving = asyncio.ensure_future(disconnected(receive))
        watched = {leaving}
        try:
            # Another poll may take what woke this one before it runs again, so it looks again.
            while True:
                if leaving in watched and leaving.done():
                    if hung_up == "keep":
                        notification.notify_one()
                        return False
                    if hung_up == "proxy":
                        deadline = min(deadline, time.monotonic() + PROXY_NOTICES_S)
                    watched = set()
                remaining = deadline - time.monotonic()
                if ready_or_ending() or remaining <= 0:
                    return ready() and not ending()
                woken = asyncio.ensure_future(notification.wait_for(ready_or_ending))
                try:
                    await asyncio.wait({woken, *watched}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    woken.cancel()
                    await asyncio.gather(woken, return_exceptions=True)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def ping(self, scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        self.emulator.workers.record_ping(path[1], query_parameters(scope))
        await send_json(send, 200, {})

    async def _receive(self, post: JobPost[T], scope: Scope, receive: Receive, send: Send, path: list[str]) -> None:
        """Receive a POST for a job, after the injected delay, and apply it unless an injected fault strikes it."""
        _, worker_id, job_id = path
        job = self.emulator.find(job_id)
        try:
            body = await read_body(scope, receive, post.max_bytes)
        except ClientDisconnected:
            return
        except BodyTooLarge:
            await self._refuse(send, job, f"the body has more than {post.max_bytes} bytes")
            return
        rtt_ms = self.emulator.faults.rtt_ms
        if rtt_ms:
            await asyncio.sleep(rtt_ms / 1000)
        if job is None:
            await send_error(send, 404, "no such job")
            return
        if self.emulator.faults.strikes(post.fault):
            job.posts["refused"] += 1
            await send_error(send, 500, f"injected: {post.fault}")
            return
        try:
            message = post.decoder.decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            await self._refuse(send, job, f"not a {post.noun}: {error}")
            return
        job.bytes += len(body)
        post.apply(job, message, worker_id)
        if self.emulator.faults.strikes("lose_answers"):
            await send_error(send, 502, "injected: lose_answers")
            return
        await send_body(send, 200, b"", b"text/plain")

    def _apply_chunk(self, job: Job, chunk: JobChunk, worker_id: str) -> None:
        job.posts["stream"] += 1
        self.emulator.receive_chunk(job, chunk.output)

    def _apply_result(self, job: Job, result: JobResult, worker_id: str) -> None:
        if result.status != "IN_PROGRESS":
            job.posts["done"] += 1
        self.emulator.receive_result(job, result)
        if result.stop_pod:
            self.emulator.on_stop_pod(worker_id)

    async def _refuse(self, send: Send, job: Job | None, message: str) -> None:
        if job is not None:
            job.posts["refused"] += 1
            logger.warning("refused what the worker sent for job %s: %s", job.id, message)
        await send_error(send, 400, message)


def query_parameters(scope: Scope) -> dict[str, str]:
    """The values of the query string by name."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
