"""`/emulator/*`: the emulator's own routes, which the platform does not have: statistics and faults."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..platform import Emulator
from .client import no_such_job, problem, reply


class Admin:
    """What tests and benchmarks read and change."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def routes(self) -> list[Route]:
        return [
            Route("/emulator/stats", self.stats, methods=["GET"]),
            Route("/emulator/jobs/{job_id}", self.job, methods=["GET"]),
            Route("/emulator/faults", self.faults, methods=["GET", "POST"]),
            Route("/emulator/redeliver/{job_id}", self.redeliver, methods=["POST"]),
        ]

    async def stats(self, request: Request) -> Response:
        return reply(self.emulator.stats())

    async def job(self, request: Request) -> Response:
        """One job's timeline with all that the worker sent."""
        job = self.emulator.find(request.path_params["job_id"])
        if job is None:
            return no_such_job()
        return reply({**job.timeline(), "input": job.request.input, "chunks": job.chunks, "result": job.for_client()})

    async def faults(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.emulator.faults.update(msgspec.json.decode(await request.body(), type=dict[str, float]))
            except (ValueError, msgspec.MsgspecError) as error:
                return problem(400, str(error))
        return reply(self.emulator.faults.as_dict())

    async def redeliver(self, request: Request) -> Response:
        job = self.emulator.find(request.path_params["job_id"])
        if job is None:
            return no_such_job()
        if not self.emulator.redeliver(job, "redelivered on request"):
            return problem(409, f"no worker holds this job; it is {job.status}")
        return reply({"id": job.id, "status": job.status})
