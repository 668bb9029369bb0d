"""The queue's routes for clients: run, runsync, status, stream, cancel, retry, purge-queue, health."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engineroom.asgi import ClientDisconnected, race

from ..http import BodyTooLarge, read_body
from ..jobs import Job, JobRequest
from ..limits import MAX_RUN, MAX_RUNSYNC
from ..platform import Emulator
from .responses import error_response, job_not_found, json_response

DEFAULT_WAIT_MS = 90_000
SHORTEST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 300_000
"""How long `/runsync?wait=` may wait (RunPod's documentation)."""


class ClientRoutes:
    """A queue endpoint as its clients see it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def routes(self) -> list[Route]:
        """The routes under `/v2/<id>`."""
        return [
            Route("/run", self.run, methods=["POST"]),
            Route("/runsync", self.runsync, methods=["POST"]),
            Route("/status/{job_id}", self.status, methods=["GET", "POST"]),
            Route("/stream/{job_id}", self.stream, methods=["GET", "POST"]),
            Route("/cancel/{job_id}", self.cancel, methods=["POST"]),
            Route("/retry/{job_id}", self.retry, methods=["POST"]),
            Route("/purge-queue", self.purge, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
        ]

    async def run(self, request: Request) -> Response:
        job_request = await read_job_request(request, MAX_RUN)
        if isinstance(job_request, Response):
            return job_request
        job = self.emulator.submit(job_request)
        return json_response({"id": job.id, "status": job.status})

    async def runsync(self, request: Request) -> Response:
        """Queue a job and wait for its end, or for as long as the client wants to wait."""
        wait = request.query_params.get("wait", str(DEFAULT_WAIT_MS))
        if not wait.isdecimal() or not SHORTEST_WAIT_MS <= int(wait) <= LONGEST_WAIT_MS:
            return error_response(400, f"wait must be between {SHORTEST_WAIT_MS} and {LONGEST_WAIT_MS} milliseconds")
        job_request = await read_job_request(request, MAX_RUNSYNC)
        if isinstance(job_request, Response):
            return job_request
        job = self.emulator.submit(job_request, sync=True)
        # However the wait ends, the response shows the job as it is then; the job of a client that left goes on.
        with contextlib.suppress(asyncio.TimeoutError, ClientDisconnected):
            await race(self.emulator.wait_finished(job), request.receive, int(wait) / 1000)
        return json_response(job.for_client())

    async def status(self, request: Request) -> Response:
        job = self._find_job(request)
        return job_not_found() if job is None else json_response(job.for_client())

    async def stream(self, request: Request) -> Response:
        """The chunks that have arrived since the last request."""
        job = self._find_job(request)
        if job is None:
            return job_not_found()
        return json_response({"status": job.status, "stream": [{"output": chunk} for chunk in job.read_chunks()]})

    async def cancel(self, request: Request) -> Response:
        job = self._find_job(request)
        if job is None:
            return job_not_found()
        self.emulator.cancel(job)
        return json_response({"id": job.id, "status": job.status})

    async def retry(self, request: Request) -> Response:
        job = self._find_job(request)
        if job is None:
            return job_not_found()
        if not self.emulator.retry(job):
            return error_response(400, f"only FAILED and TIMED_OUT jobs can be retried; this one is {job.status}")
        return json_response({"id": job.id, "status": job.status})

    async def purge(self, request: Request) -> Response:
        return json_response({"removed": self.emulator.purge(), "status": "completed"})

    async def health(self, request: Request) -> Response:
        emulator = self.emulator
        waiting = len(emulator.queue) + len(emulator.batch_queue)
        jobs = {**emulator.counts, "inProgress": emulator.in_progress(), "inQueue": waiting}
        return json_response({"jobs": dict(sorted(jobs.items())), "workers": emulator.workers.counts()})

    def _find_job(self, request: Request) -> Job | None:
        return self.emulator.find(request.path_params["job_id"])


async def read_job_request(request: Request, max_bytes: int) -> JobRequest | Response:
    """The body of `/run` or `/runsync`, or the response to a wrong one."""
    try:
        body = await read_body(request.scope, request.receive, max_bytes)
        job_request = msgspec.json.decode(body, type=JobRequest)
    except BodyTooLarge:
        return error_response(413, f"the body has more than {max_bytes} bytes")
    except (msgspec.MsgspecError, RecursionError) as error:
        return error_response(400, str(error))
    if bytes(job_request.input) == b"null":
        return error_response(400, "input must not be null")
    return job_request
