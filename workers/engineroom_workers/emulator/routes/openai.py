"""`/v2/<id>/openai/*`: an OpenAI client's request made a job, and the job's output made an HTTP response."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from engineroom.asgi import ClientDisconnected, Receive, Scope, Send, race, send_body

from ..http import BodyTooLarge, ClientGone, encode, read_body, send_error, send_json
from ..jobs import Job, JobRequest
from ..platform import MAX_RUNSYNC, Emulator

LAST_WORDS_S = 0.5
SERVER_ERROR = {"status": 500, "title": "Internal Server Error"}


class OpenAISide:
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
        except ClientGone:
            return
        except BodyTooLarge:
            await send_error(send, 413, f"the body has more than {MAX_RUNSYNC} bytes")
            return
        job_input: dict[str, Any] = {"openai_route": route}
        streamed = False
        if scope["method"] != "GET" and body:
            try:
                payload = msgspec.json.decode(body)
            except msgspec.MsgspecError as error:
                await send_error(send, 400, f"the body is not JSON: {error}")
                return
            job_input["openai_input"] = msgspec.Raw(body)
            streamed = isinstance(payload, dict) and payload.get("stream") is True
        job = self.emulator.submit(JobRequest(msgspec.Raw(encode(job_input))), sync=True)
        try:
            answered = await race((self._stream if streamed else self._whole)(job, send), receive)
        except ClientDisconnected:
            answered = False
        if not answered:
            await self._abandon(job)

    async def _abandon(self, job: Job) -> None:
        """Cancel the job of a client that hung up; one that ends within a moment may: `[DONE]` was all it wanted."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.emulator.wait_finished(job), LAST_WORDS_S)
        self.emulator.cancel(job)

    async def _whole(self, job: Job, send: Send) -> bool:
        """Wait for the job and send its output; false if the emulator closes before."""
        await self.emulator.wait_finished(job)
        if not job.finished:
            return False
        if job.status == "COMPLETED":
            await send_body(send, 200, as_body(job.output), b"application/json")
        else:
            await send_json(send, 500, SERVER_ERROR)
        return True

    async def _stream(self, job: Job, send: Send) -> bool:
        """Send the job's chunks as they come; false if the emulator closes before the last."""
        started = False
        while True:
            over = job.finished
            chunks = job.unread()
            if not started and over and not chunks and job.status != "COMPLETED":
                await send_json(send, 500, SERVER_ERROR)
                return True
            if not started and (chunks or over):
                started = True
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            if started:
                events = b"".join(as_events(chunk) for chunk in chunks)
                await send({"type": "http.response.body", "body": events, "more_body": not over})
            if over:
                return True
            if self.emulator.closed:
                return False
            await job.changed.wait()


def as_events(chunk: msgspec.Raw) -> bytes:
    """One item of a stream: a string goes out verbatim, anything else as an event of its own."""
    value = msgspec.json.decode(chunk)
    return value.encode() if isinstance(value, str) else b"data: " + bytes(chunk) + b"\n\n"


def as_body(output: msgspec.Raw) -> bytes:
    """A finished job's output as a response: an aggregate of one item is that item, a string is already JSON."""
    if not output:
        return b"null"
    value = msgspec.json.decode(output)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.encode() if isinstance(value, str) else encode(value)
