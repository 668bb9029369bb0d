"""`/v2/<id>/openai/*`: an OpenAI client's request becomes a job, and the job's output becomes the response."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from engineroom.asgi import ClientDisconnected, Receive, Scope, Send, race, send_body
from engineroom.jobs import as_body, as_events
from engineroom.timeouts import timeout

from ..http import BodyTooLarge, encode, read_body, send_error, send_json
from ..jobs import Job, JobRequest
from ..limits import MAX_RUNSYNC
from ..platform import Emulator

FINISHING_S = 0.5
"""How long a job may still run after its client has left: one that has read `[DONE]` has all it wants."""
SERVER_ERROR = {"status": 500, "title": "Internal Server Error"}
STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class OpenAIRoutes:
    """What stands in front of a worker for OpenAI clients.

    Only the path and a JSON body reach the worker: no method, header or query. There is no way for a worker to
    choose a status: a FAILED job is a 500, everything else a 200.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send, route: str) -> None:
        """Answer a request for `route`, the path that follows `/openai`."""
        try:
            body = await read_body(scope, receive, MAX_RUNSYNC)
        except ClientDisconnected:
            return
        except BodyTooLarge:
            await send_error(send, 413, f"the body has more than {MAX_RUNSYNC} bytes")
            return
        job_input: dict[str, Any] = {"openai_route": route}
        streamed = False
        if scope["method"] != "GET" and body:
            try:
                payload = msgspec.json.decode(body)
            except (msgspec.MsgspecError, RecursionError) as error:
                await send_error(send, 400, f"the body is not JSON: {error}")
                return
            job_input["openai_input"] = msgspec.Raw(body)
            streamed = isinstance(payload, dict) and payload.get("stream") is True
        job = self.emulator.submit(JobRequest(msgspec.Raw(encode(job_input))), sync=True)
        response = self._send_stream(job, send) if streamed else self._send_whole(job, send)
        with contextlib.suppress(ClientDisconnected):
            await race(response, receive)
        if not job.finished:
            await self._abandon(job)

    async def _abandon(self, job: Job) -> None:
        """Cancel a job that nobody waits for, unless it ends within a moment."""
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(FINISHING_S):
                await self.emulator.wait_finished(job)
        self.emulator.cancel(job)

    async def _send_whole(self, job: Job, send: Send) -> None:
        """Wait for the job and send its output."""
        await self.emulator.wait_finished(job)
        if job.status == "COMPLETED":
            await send_body(send, 200, as_body(job.output), b"application/json")
        elif job.finished:
            await send_json(send, 500, SERVER_ERROR)

    async def _send_stream(self, job: Job, send: Send) -> None:
        """Send the job's chunks as they arrive. A job that fails before its first chunk is a 500."""
        started = False
        while True:
            finished = job.finished
            chunks = job.read_chunks()
            if not started and not chunks and finished and job.status != "COMPLETED":
                await send_json(send, 500, SERVER_ERROR)
                return
            if not started and (chunks or finished):
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
            if started:
                events = b"".join(as_events(chunk) for chunk in chunks)
                await send({"type": "http.response.body", "body": events, "more_body": not finished})
            if finished or self.emulator.closed:
                return
            await job.changed.wait()
