"""The jobs of a worker: taken from the platform, run, cancelled, and their responses delivered; none lost in silence.

Each job is a task of its own, so that one can be cancelled without the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from engineroom.errors import APIError
from engineroom.openai.errors import error_body

from .handler import JobFailure, JobResponse
from .platform import Backoff, DeliveryError, Platform, PlatformBusy

logger = logging.getLogger(__name__)

LARGEST_RESULT = 20_000_000
"""Bytes of JSON; the platform refuses a larger result, and its job would hang until it times out."""

_LAST_TRY_S = 2.0
"""Seconds for the last attempt at what could not be delivered before the end."""
_TAKING = "taking jobs"
_STOPPING = "asking which jobs to stop"
_HELD_S = 0.5
"""Seconds that an empty poll must have taken to count as held by the platform; after others we pause."""


class Responder(Protocol):
    """What answers jobs."""

    def respond(self, job: Mapping[str, Any]) -> JobResponse:
        """The response to a job as the platform hands it out: an object with `id` and `input`."""


class JobPool:
    """Starts, counts and ends the jobs of one worker.

    Args:
        handler: answers them.
        max_jobs: how many may run at a time.
    """

    def __init__(self, handler: Responder, platform: Platform, max_jobs: int) -> None:
        self._handler = handler
        self._platform = platform
        self._max_jobs = max_jobs
        self._running: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._taking = True
        self._answered = asyncio.Event()
        self._answered.set()

    def __len__(self) -> int:
        return len(self._running)

    def pause(self) -> None:
        """Have room for no more jobs, and let those that still come wait: the engine does not respond."""
        self._taking = False
        self._answered.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._taking = True
        self._answered.set()
        self._changed.set()

    def let_end(self) -> None:
        """Let the jobs that wait end as they will: the engine is dead."""
        self._answered.set()

    async def wait_for_room(self) -> int:
        """Wait until at least one more job may run; how many more may."""
        while not self._taking or len(self._running) >= self._max_jobs:
            self._changed.clear()
            await self._changed.wait()
        return self._max_jobs - len(self._running)

    async def wait_idle(self) -> None:
        """Wait until no job runs."""
        while self._running:
            self._changed.clear()
            await self._changed.wait()

    def start(self, job: Any) -> bool:
        """Start a job as the platform handed it out; false where it is none.

        Where the same job is running already, that one goes on, and its result is the result.
        """
        job_id = job.get("id") if isinstance(job, dict) else None
        if not isinstance(job_id, str) or not job_id:
            logger.error("the platform handed out something that is not a job: %.200r", job)
            return False
        if job_id in self._running:
            logger.warning("job %s was handed out again while it is running; it continues", job_id)
        else:
            self._platform.job_begins(job_id)
            self._running[job_id] = asyncio.ensure_future(self._run(job_id, job))
        return True

    async def _run(self, job_id: str, job: dict[str, Any]) -> None:
        logger.debug("job %s started", job_id)
        try:
            await self._answered.wait()
            response = self._handler.respond(job)
            try:
                await deliver(job_id, response, self._platform)
            finally:
                response.record.log()
        except asyncio.CancelledError:
            logger.info("job %s stopped", job_id)
        except Exception:
            logger.exception("job %s failed", job_id)
            error = APIError("The server had an error while processing your request.", status=500)
            await _report(job_id, _as_failure(error), self._platform)
        finally:
            self._platform.job_ends(job_id)
            del self._running[job_id]
            self._changed.set()

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs, as the platform asked: their generations are aborted, and nothing more is sent."""
        for job_id in job_ids:
            task = self._running.get(job_id)
            if task is not None:
                task.cancel()

    async def finish(self, grace: float) -> None:
        """Give the jobs `grace` seconds for what they are still sending, and a last attempt; then cancel the rest."""
        tasks = {task: job_id for job_id, task in self._running.items()}
        if not tasks:
            return
        self._platform.last_call(grace)
        _, rest = await asyncio.wait(tasks, timeout=grace + _LAST_TRY_S)
        for task in rest:
            logger.error("job %s: given up without a result: the worker ends", tasks[task])
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


async def take_jobs(platform: Platform, pool: JobPool, stopping: asyncio.Future[None]) -> None:
    """Take jobs until `stopping`: the next as soon as there is room, as many at a time as there is room for.

    To end it, set `stopping` and call `platform.stop_taking()`; a job that arrives with the last poll is started.
    Of jobs that arrive together those of a batch are started last: nobody waits for them.
    """
    after_error = Backoff(0.2, 10)
    after_nothing = Backoff(0.05, 1)
    while True:
        room: asyncio.Future[int] = asyncio.ensure_future(pool.wait_for_room())
        await asyncio.wait((room, stopping), return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            room.cancel()
            return
        began = time.monotonic()
        delay = 0.0
        try:
            jobs = await platform.take(room.result())
        except PlatformBusy:
            delay = max(after_error.next(), platform.wait_before_take)
            platform.outage.failed(_TAKING, "it asks for fewer requests (429)")
        except Exception as error:
            delay = max(after_error.next(), platform.wait_before_take)
            platform.outage.failed(_TAKING, f"{type(error).__name__}: {error}")
        else:
            after_error.reset()
            platform.outage.worked(_TAKING)
            started = [pool.start(job) for job in sorted(jobs, key=_of_batch)]
            if any(started) or time.monotonic() - began > _HELD_S:
                after_nothing.reset()
            else:
                delay = after_nothing.next()
        if delay:
            await asyncio.wait({stopping}, timeout=delay)


def _of_batch(job: Any) -> bool:
    """Whether a job is one of a batch (`/v2/ENDPOINT/batch`), which has hours."""
    return isinstance(job, dict) and bool(job.get("batchId"))


async def watch_cancellations(platform: Platform, pool: JobPool) -> None:
    """Cancel the jobs that the platform wants to end: those of clients that gave up, and those whose time is up."""
    after_error = Backoff(0.2, 10)
    after_nothing = Backoff(0.1, 1)
    while True:
        began = time.monotonic()
        try:
            job_ids = await platform.cancelled_jobs()
        except Exception as error:
            delay = after_error.next()
            if not isinstance(error, PlatformBusy):
                platform.outage.failed(_STOPPING, f"{type(error).__name__}: {error}")
            await asyncio.sleep(delay)
            continue
        after_error.reset()
        platform.outage.worked(_STOPPING)
        pool.cancel(job_ids)
        if job_ids or time.monotonic() - began > _HELD_S:
            after_nothing.reset()
        else:
            await asyncio.sleep(after_nothing.next())


async def deliver(job_id: str, response: JobResponse, platform: Platform) -> None:
    """Send a job's response: each item of a stream by itself, and all items together as the job's result.

    An item that cannot be delivered ends the job with an error: a stream with a hole in it would look whole.
    Cancelling this aborts the generation and sends nothing more.
    """
    output: list[Any] = []
    result: dict[str, Any] = {"output": output}
    async with aclosing(response.items) as items:
        try:
            async for item in items:
                output.append(item)
                if response.stream and await platform.stream(job_id, item) > 1:
                    response.delivery.repeated += 1
        except JobFailure as error:
            response.record.status = "FAILED"
            result = {"error": str(error)}
        except DeliveryError as error:
            logger.error("job %s: an item of its stream could not be delivered: the platform %s", job_id, error)
            response.record.status = "FAILED"
            response.record.error = "delivery_failed"
            result = _delivery_failed(f"An item of the stream could not be delivered: the platform {error}.")
    if response.single and "output" in result:
        result = {"output": output[0]}
    body = msgspec.json.encode(result)
    failed = "error" in result
    # The result may have to wait for the platform: once is enough to keep it.
    del output, result
    if len(body) > LARGEST_RESULT:
        body = msgspec.json.encode({"output": [_too_large(len(body), response.stream)]})
    try:
        await platform.done(job_id, body)
    except DeliveryError as error:
        logger.error("job %s: its result of %d bytes was given up: the platform %s", job_id, len(body), error)
        if error.rejected and not failed:
            await _report(job_id, _delivery_failed(f"The result was refused: the platform {error}."), platform)


async def _report(job_id: str, failure: dict[str, str], platform: Platform) -> None:
    try:
        await platform.done(job_id, msgspec.json.encode(failure))
    except DeliveryError as error:
        logger.error("job %s: the failure could not be reported either: the platform %s", job_id, error)


def _delivery_failed(message: str) -> dict[str, str]:
    return _as_failure(APIError(message, status=502, code="delivery_failed"))


def _as_failure(error: APIError) -> dict[str, str]:
    """The result of a FAILED job."""
    return {"error": msgspec.json.encode(error_body(error)).decode()}


def _too_large(size: int, streamed: bool) -> dict[str, Any]:
    message = f"The output has {size / 1e6:.1f} MB of JSON, more than the {LARGEST_RESULT / 1e6:.0f} MB of a result."
    if streamed:
        message += " All of it was streamed."
    return error_body(APIError(message, status=413, type="server_error", code="result_too_large"))
