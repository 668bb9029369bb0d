"""`/emulator/*`: the emulator's own routes, which the platform does not have: statistics and faults."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..platform import Emulator
from .responses import error_response, job_not_found, json_response


class AdminRoutes:
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
        return json_response(self.emulator.stats())

    async def job(self, request: Request) -> Response:
        """One job's timeline with all that the worker sent."""
        job = self.emulator.find(request.path_params["job_id"])
        if job is None:
            return job_not_found()
        return json_response(
            {**job.timeline(), "input": job.request.input, "chunks": job.chunks, "result": job.for_client()}
        )

    async def faults(self, request: Request) -> Response:
        """The faults in force; a POST changes those that it names."""
        if request.method == "POST":
            try:
                self.emulator.faults.update(msgspec.json.decode(await request.body(), type=dict[str, float]))
            except (ValueError, msgspec.MsgspecError) as error:
                return error_response(400, str(error))
        return json_response(self.emulator.faults.as_dict())

    async def redeliver(self, request: Request) -> Response:
        """Put a job that a worker holds back into the queue."""
        job = self.emulator.find(request.path_params["job_id"])
        if job is None:
            return job_not_found()
        if not self.emulator.redeliver(job, "redelivered on request"):
            return error_response(409, f"no worker holds this job; it is {job.status}")
        return json_response({"id": job.id, "status": job.status})
