"""The routes that clients speak to: run, runsync, status, stream, cancel, retry, purge-queue, health."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engineroom.asgi import ClientDisconnected, race

from ..http import BodyTooLarge, encode, read_body
from ..jobs import Job, JobRequest
from ..platform import MAX_RUN, MAX_RUNSYNC, Emulator

WAIT_MS, SHORTEST_WAIT_MS, LONGEST_WAIT_MS = 90_000, 1_000, 300_000
"""`/runsync?wait=`: default and range, by RunPod's documentation."""


class ClientSide:
    """A queue endpoint as its clients see it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def routes(self) -> list[Route]:
        """Routes below `/v2/<id>`."""
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
        job_request = await read_job(request, MAX_RUN)
        if isinstance(job_request, Response):
            return job_request
        job = self.emulator.submit(job_request)
        return reply({"id": job.id, "status": job.status})

    async def runsync(self, request: Request) -> Response:
        wait = request.query_params.get("wait", str(WAIT_MS))
        if not wait.isdecimal() or not SHORTEST_WAIT_MS <= int(wait) <= LONGEST_WAIT_MS:
            return problem(400, f"wait must be between {SHORTEST_WAIT_MS} and {LONGEST_WAIT_MS} milliseconds")
        job_request = await read_job(request, MAX_RUNSYNC)
        if isinstance(job_request, Response):
            return job_request
        job = self.emulator.submit(job_request, sync=True)
        with contextlib.suppress(ClientDisconnected, asyncio.TimeoutError):
            await race(self.emulator.wait_finished(job), request.receive, int(wait) / 1000)
        return reply(job.for_client())

    async def status(self, request: Request) -> Response:
        job = self._job(request)
        return no_such_job() if job is None else reply(job.for_client())

    async def stream(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return no_such_job()
        return reply({"status": job.status, "stream": [{"output": chunk} for chunk in job.unread()]})

    async def cancel(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return no_such_job()
        self.emulator.cancel(job)
        return reply({"id": job.id, "status": job.status})

    async def retry(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return no_such_job()
        if not self.emulator.retry(job):
            return problem(400, f"only FAILED and TIMED_OUT jobs can be retried; this one is {job.status}")
        return reply({"id": job.id, "status": job.status})

    async def purge(self, request: Request) -> Response:
        return reply({"removed": self.emulator.purge(), "status": "completed"})

    async def health(self, request: Request) -> Response:
        emulator = self.emulator
        jobs = {**emulator.counts, "inProgress": emulator.in_progress(), "inQueue": len(emulator.queue)}
        return reply({"jobs": dict(sorted(jobs.items())), "workers": emulator.fleet.counts()})

    def _job(self, request: Request) -> Job | None:
        return self.emulator.find(request.path_params["job_id"])


async def read_job(request: Request, most: int) -> JobRequest | Response:
    """The body of `/run` or `/runsync`, or the answer to a wrong one."""
    try:
        job = msgspec.json.decode(await read_body(request.scope, request.receive, most), type=JobRequest)
    except BodyTooLarge:
        return problem(413, f"the body has more than {most} bytes")
    except msgspec.MsgspecError as error:
        return problem(400, str(error))
    return problem(400, "input must not be null") if bytes(job.input) == b"null" else job


def reply(value: Any, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


def problem(status: int, message: str) -> Response:
    return reply({"error": message}, status)


def no_such_job() -> Response:
    return problem(404, "no such job, or its result has expired")
