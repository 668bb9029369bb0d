"""Requests as jobs of RunPod's queue: `/run` and then `/stream`, or `/runsync`, with what RunPod says of each job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from engineroom.jobs import as_body, as_events
from engineroom.timeouts import timeout

from .answers import AnswerReceiver, refusal
from .failure import FailureKind, RequestFailure
from .http_client import HTTPClient
from .measurement import Measurement
from .sender import PATHS, Ask, Sender

JobRoute: TypeAlias = Literal["run", "runsync"]
"""`run` queues a job, and its stream is fetched piece by piece; `runsync` waits for a whole answer."""

_FAILURES: dict[str, FailureKind] = {"FAILED": "server error", "TIMED_OUT": "timeout", "CANCELLED": "cut off"}
_LONGEST_WAIT_MS = 300_000
"""RunPod lets `/runsync` wait for no longer."""
_SHORTEST_POLL_S = 0.1
_POLLS_PER_S = 150
"""All jobs together, since RunPod allows 2000 requests to `/stream` in ten seconds for an endpoint."""
_CANCEL_S = 5
_REQUEST_S = 30
_EVENTS = {"content-type": "text/event-stream"}
_JSON = {"content-type": "application/json"}


class _StreamItem(msgspec.Struct):
    output: msgspec.Raw = msgspec.Raw()


class _Job(msgspec.Struct, rename="camel"):
    """What RunPod says of a job. delay_time: milliseconds in the queue; execution_time: milliseconds at a worker."""

    id: str = ""
    status: str = ""
    delay_time: float | None = None
    execution_time: float | None = None
    worker_id: str | None = None
    output: msgspec.Raw = msgspec.Raw()
    error: Any = None
    stream: list[_StreamItem] = []

    @property
    def ended(self) -> bool:
        return self.status in ("COMPLETED", *_FAILURES)


class JobSender(Sender):
    """Sends requests of OpenAI's API as jobs, in the form that workers for OpenAI's clients take (`openai_route`).

    Every measurement gets in its `extra` how long its job waited in RunPod's queue and ran, in seconds: `RunPod queue`
    and `execution`. The first token of a job's stream is seen when it is next asked for, at most a tenth of a second
    late, and later where more than 15 jobs run.

    Args:
        client: of the endpoint, `https://api.runpod.ai/v2/ID`; closed with this.
        model: of every request that names none.
        fields: of every request.
        timeout_s: seconds within which an answer has to be complete; a job that takes longer is cancelled.
    """

    def __init__(
        self,
        client: HTTPClient,
        model: str = "",
        *,
        route: JobRoute = "run",
        fields: Mapping[str, Any] | None = None,
        timeout_s: float = 600,
    ) -> None:
        self.client = client
        self.timeout_s = timeout_s
        self._route = route
        self._common: dict[str, Any] = {"model": model} if model else {}
        self._common |= fields or {}
        self._running = 0

    async def send(self, ask: Ask, measurement: Measurement) -> None:
        measurement.sent = time.perf_counter()
        self._running += 1
        try:
            async with timeout(self.timeout_s):
                await self._send(ask, measurement)
        except RequestFailure as failure:
            measurement.failure = failure
        except asyncio.TimeoutError:
            measurement.failure = RequestFailure("timeout", f"no whole answer within {self.timeout_s:g} s")
        finally:
            self._running -= 1
            measurement.ended = time.perf_counter()

    async def prepare(self, streams: int) -> None:
        await self.client.open(streams)

    async def close(self) -> None:
        self.client.close()

    async def _send(self, ask: Ask, measurement: Measurement) -> None:
        streamed = self._route == "run" and ask.surface != "embeddings"
        body = {**self._common, **ask.body}
        if streamed:
            usage = {"stream_options": {"include_usage": True}} if self.asks_for_usage else {}
            body = {"stream": True, **usage, **body}
        job_input = {"openai_route": f"/v1{PATHS[ask.surface]}", "openai_input": body}
        content = msgspec.json.encode({"input": job_input})
        if self._route == "runsync":
            # What RunPod answers too late is lost: a job that is asked for again and again is not.
            job = await self._ask("POST", f"/runsync?wait={_LONGEST_WAIT_MS}", content, self.timeout_s)
        else:
            job = await self._ask("POST", "/run", content, _REQUEST_S)
        if not job.id:
            raise RequestFailure("not the API", "this is not RunPod's queue: it gives no id to a job")
        try:
            receiver = AnswerReceiver(measurement)
            job = await (self._streamed(job, receiver) if streamed else self._whole(job, receiver))
        except (asyncio.CancelledError, RequestFailure):
            await self._cancel(job)
            raise
        measurement.ended = time.perf_counter()
        _note_times(job, measurement)
        _check(job)
        receiver.finish(measurement.ended)

    async def _streamed(self, job: _Job, receiver: AnswerReceiver) -> _Job:
        """Fetch a job's stream to its end; the job as it is then."""
        receiver.on_head(200, _EVENTS)
        while True:
            part = await self._ask("GET", f"/stream/{job.id}", b"", _REQUEST_S)
            moment = time.perf_counter()
            for item in part.stream:
                receiver.on_body(as_events(item.output), moment)
            if part.ended and not part.stream:
                return await self._ask("GET", f"/status/{job.id}", b"", _REQUEST_S)
            if not part.ended:
                await asyncio.sleep(self._poll_s)

    async def _whole(self, job: _Job, receiver: AnswerReceiver) -> _Job:
        """Wait for a job's end, and hand over its output; the job as it is then."""
        while not job.ended:
            await asyncio.sleep(self._poll_s)
            job = await self._ask("GET", f"/status/{job.id}", b"", _REQUEST_S)
        if job.status == "COMPLETED":
            receiver.on_head(200, _JSON)
            receiver.on_body(as_body(job.output), time.perf_counter())
        return job

    @property
    def _poll_s(self) -> float:
        return max(_SHORTEST_POLL_S, self._running / _POLLS_PER_S)

    async def _ask(self, method: str, path: str, body: bytes, timeout_s: float) -> _Job:
        response = await self.client.fetch(method, path, body, timeout_s)
        if not 200 <= response.status < 300:
            raise refusal(response.status, response.headers, response.body)
        try:
            return msgspec.json.decode(response.body, type=_Job)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RequestFailure("not the API", "this is not an answer of RunPod's queue", response.status) from None

    async def _cancel(self, job: _Job) -> None:
        """A job that nobody waits for any more is not to be paid for."""
        if job.ended:
            return
        try:
            async with timeout(_CANCEL_S):
                await self.client.fetch("POST", f"/cancel/{job.id}", b"", _CANCEL_S)
        except (RequestFailure, asyncio.TimeoutError):
            return


def _note_times(job: _Job, measurement: Measurement) -> None:
    if job.delay_time is not None:
        measurement.extra["RunPod queue"] = job.delay_time / 1000
    if job.execution_time is not None:
        measurement.extra["execution"] = job.execution_time / 1000


def _check(job: _Job) -> None:
    """Raises RequestFailure for a job that was not completed."""
    kind = _FAILURES.get(job.status)
    if kind is None:
        return
    reason = job.error or job.output or f"the job is {job.status}"
    text = reason if isinstance(reason, str) else msgspec.json.encode(reason).decode()
    raise RequestFailure(kind, " ".join(text.split())[:300])
