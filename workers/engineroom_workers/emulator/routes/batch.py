"""`/v2/<id>/batch`: batches are drafted, finalized and watched here; their jobs are jobs like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..batches import Batch, BatchRefused
from ..http import BodyTooLarge, read_body
from ..jobs import JobRequest
from ..limits import MAX_RUN
from ..platform import Emulator
from .responses import error_response, json_response

PAGE = 100
"""Requests in one answer; `nextCursor` leads to the next."""


class BatchRequests(msgspec.Struct):
    """The body of a new batch, and of requests that are added to one. A bare array of requests will do."""

    name: str | None = None
    requests: list[JobRequest] = msgspec.field(default_factory=list)


class BatchRoutes:
    """Batches as their clients see them."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def routes(self) -> list[Route]:
        """The routes under `/v2/<id>`."""
        return [
            Route("/batch", self.create, methods=["POST"]),
            Route("/batch", self.list, methods=["GET"]),
            Route("/batch/{batch_id}", self._of_batch(self.show), methods=["GET"]),
            Route("/batch/{batch_id}", self._of_batch(self.rename), methods=["PUT"]),
            Route("/batch/{batch_id}/requests", self._of_batch(self.add), methods=["POST"]),
            Route("/batch/{batch_id}/requests", self._of_batch(self.requests), methods=["GET"]),
            Route("/batch/{batch_id}/requests/{request_id}", self._of_batch(self.remove), methods=["DELETE"]),
            Route("/batch/{batch_id}/finalize", self._of_batch(self.finalize), methods=["POST"]),
            Route("/batch/{batch_id}/cancel", self._of_batch(self.cancel), methods=["POST"]),
        ]

    def _of_batch(
        self, handler: Callable[[Batch, Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """A handler that is called with its batch, and whose refusals are answers."""

        async def handle(request: Request) -> Response:
            batch = self.emulator.batches.get(request.path_params["batch_id"])
            if batch is None:
                return error_response(404, "no such batch")
            try:
                return await handler(batch, request)
            except BatchRefused as error:
                return error_response(400, str(error))

        return handle

    async def create(self, request: Request) -> Response:
        body = await read_batch_requests(request)
        if isinstance(body, Response):
            return body
        try:
            return self._summary(self.emulator.batches.create(body.name, body.requests))
        except BatchRefused as error:
            return error_response(400, str(error))

    async def list(self, request: Request) -> Response:
        """All batches, newest first."""
        endpoint_id = self.emulator.options.endpoint_id
        batches = [batch.summary(endpoint_id) for batch in reversed(self.emulator.batches.values())]
        return json_response({"batches": batches})

    async def show(self, batch: Batch, request: Request) -> Response:
        return self._summary(batch)

    async def rename(self, batch: Batch, request: Request) -> Response:
        body = await read_batch_requests(request)
        if isinstance(body, Response):
            return body
        batch.name = body.name
        return self._summary(batch)

    async def add(self, batch: Batch, request: Request) -> Response:
        body = await read_batch_requests(request)
        if isinstance(body, Response):
            return body
        batch.add(body.requests)
        return self._summary(batch)

    async def requests(self, batch: Batch, request: Request) -> Response:
        """A page of the batch's requests."""
        cursor = request.query_params.get("cursor", "0")
        if not cursor.isdecimal():
            return error_response(400, "cursor must be the nextCursor of another answer")
        states = batch.request_states()
        end = int(cursor) + PAGE
        return json_response(
            {"requests": states[int(cursor) : end], "nextCursor": str(end) if end < len(states) else None}
        )

    async def remove(self, batch: Batch, request: Request) -> Response:
        batch.check_draft()
        if batch.requests.pop(request.path_params["request_id"], None) is None:
            return error_response(404, "the batch has no such request")
        return self._summary(batch)

    async def finalize(self, batch: Batch, request: Request) -> Response:
        batch.check_draft()
        self.emulator.finalize(batch)
        return self._summary(batch)

    async def cancel(self, batch: Batch, request: Request) -> Response:
        self.emulator.cancel_batch(batch)
        return self._summary(batch)

    def _summary(self, batch: Batch) -> Response:
        return json_response(batch.summary(self.emulator.options.endpoint_id))


async def read_batch_requests(request: Request) -> BatchRequests | Response:
    """The body of a call that brings requests, or the response to a wrong one."""
    try:
        body = await read_body(request.scope, request.receive, MAX_RUN)
        if body.lstrip()[:1] == b"[":
            return BatchRequests(requests=msgspec.json.decode(body, type=list[JobRequest]))
        return msgspec.json.decode(body or b"{}", type=BatchRequests)
    except BodyTooLarge:
        return error_response(413, f"the body has more than {MAX_RUN} bytes")
    except (msgspec.MsgspecError, RecursionError) as error:
        return error_response(400, str(error))
