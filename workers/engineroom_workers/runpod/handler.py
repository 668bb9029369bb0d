"""The handler: a job in, the items of its response out."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from engineroom.asgi import Pump, Response, request
from engineroom.engine import RunningEngine
from engineroom.errors import APIError
from engineroom.jobs import (
    APICall,
    Delta,
    GenerateRequest,
    JobInput,
    OutputFormat,
    Pace,
    batched,
    drained,
    generate,
    request_headers,
    wants_stream,
)
from engineroom.logs import Event
from engineroom.openai.body import check_json
from engineroom.openai.errors import error_body, error_event
from engineroom.openai.routes import CHAT_COMPLETIONS
from engineroom.openai.sse import EventSource, payloads
from engineroom.openai.upstream_errors import from_upstream
from engineroom.openai.usage import TokenUsage, counting
from engineroom.openai.validation import UNKNOWN_FIELD

from . import native, own_routes
from .settings import RunPodSettings

logger = logging.getLogger(__name__)

LARGEST_ITEM = 1_000_000
"""Bytes of JSON; RunPod takes at most 1 MB for one item of a stream."""

_JSON_BYTES = 6
"""Bytes that one character takes in JSON at most."""

_LONGEST_ROUTE = 100


_OBJECT = re.compile(rb"^data: ?\{(?!\})", re.MULTILINE)
"""The beginning of an event's data, where that is an object with members."""


class JobFailure(Exception):
    """The job is to be marked FAILED; its text is the error's JSON."""


@dataclass(slots=True)
class JobRecord:
    """What the log says of a job: one line when it is over, and nothing of its content.

    route: what was asked for; `native` for a prompt or messages.
    status: as the platform has it; CANCELLED until the response is whole or has failed.
    error: the code or type of the error, in the output or of the failure.
    first_item: seconds until there was a first item of a stream.
    """

    id: str
    route: str = "native"
    status: Literal["COMPLETED", "FAILED", "CANCELLED"] = "CANCELLED"
    error: str = ""
    usage: TokenUsage = field(default_factory=TokenUsage)
    first_item: float | None = None
    _began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the job was taken."""
        return round(time.monotonic() - self._began, 4)

    def log(self) -> None:
        """Write the line."""
        fields: dict[str, Any] = {"id": self.id, "route": self.route, "status": self.status}
        if self.error:
            fields["error"] = self.error
        fields |= {"prompt_tokens": self.usage.prompt_tokens, "completion_tokens": self.usage.completion_tokens}
        if self.first_item is not None:
            fields["first_seconds"] = self.first_item
        logger.info(Event("job", **fields, seconds=self.seconds))


class Delivery:
    """What lets a client see what it got twice: every event of a stream says where it stands.

    The platform delivers at least once: an item is sent again where the answer to its POST was lost, and a job runs
    again where its worker was lost. Each object carries `{"delivery": {"attempt": …, "position": …}}`; from the first
    item on that may have arrived twice it also has `repeated`, their number so far.

    attempt: tells this run of the job from any other.
    position: of the next object in the stream, from 0.
    repeated: how many items were sent more than once. The platform may have taken each of their attempts.
    """

    def __init__(self) -> None:
        self.attempt = secrets.token_hex(4)
        self.position = 0
        self.repeated = 0

    def next(self) -> dict[str, Any]:
        """The mark of the next object."""
        mark = {"attempt": self.attempt, "position": self.position}
        self.position += 1
        return {**mark, "repeated": self.repeated} if self.repeated else mark

    def mark_events(self, events: bytes) -> bytes:
        """Server-sent events, each with its mark as the first member of its object; other data stays as it is."""
        return _OBJECT.sub(self._opening, events)

    def _opening(self, match: re.Match[bytes]) -> bytes:
        return b'data: {"delivery":' + msgspec.json.encode(self.next()) + b","


@dataclass(frozen=True, slots=True)
class JobResponse:
    """The response to a job.

    stream: whether the client wants the items one by one, as they are produced.
    items: JSON values. Closing them aborts the generation. They raise only `JobFailure`.
    record: what there is to log once they are delivered.
    delivery: what the items of a stream are marked with.
    single: whether the job's output is its only item itself, and no list of items.
    """

    stream: bool
    items: AsyncGenerator[Any, None]
    record: JobRecord = field(default_factory=lambda: JobRecord(""))
    delivery: Delivery = field(default_factory=Delivery)
    single: bool = False


class JobHandler:
    """Answers jobs from an engine. One for a worker: all its streams share a pace."""

    def __init__(self, engine: RunningEngine, settings: RunPodSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._batching = settings.batching
        self._defaults = settings.job_defaults
        self._pace = Pace()
        self._first = True

    def respond(self, job: Mapping[str, Any]) -> JobResponse:
        """The response to a job as the platform hands it out: an object with `id` and `input`."""
        if self._first:
            self._first = False
            self._engine.timeline.mark("first job")
        value = job.get("input")
        record = JobRecord(str(job.get("id")), _path_of(value).partition("?")[0][:_LONGEST_ROUTE] or "native")
        try:
            check_json(value, "input of your job")
            job_input = JobInput.parse(value, self._engine, self._defaults)
        except APIError as error:
            return JobResponse(wants_stream(value), self._refusal(value, error, record), record)
        for name in job_input.ignored:
            logger.warning("job %s: nobody knows the field '%s'; the job is served without it", job.get("id"), name)
        delivery = Delivery()
        items = self._items(value, job_input, record, delivery)
        # Workers with this format return one object; those with the others yield items, of which RunPod makes a list.
        single = isinstance(job_input.request, GenerateRequest) and job_input.output_format == "output"
        return JobResponse(job_input.stream, items, record, delivery, single and not job_input.stream)

    async def _refusal(self, value: Any, error: APIError, record: JobRecord) -> AsyncGenerator[Any, None]:
        record.error = error.code or error.type
        if self._settings.job_errors == "failed":
            raise _failure(value, error)
        yield self._error_item(value, error)
        record.status = "COMPLETED"

    async def _items(
        self, value: Any, job_input: JobInput, record: JobRecord, delivery: Delivery
    ) -> AsyncGenerator[Any, None]:
        """The items of a response. An error is the last of them, or fails the job.

        A job that its engine's end has interrupted is FAILED, whatever JOB_ERRORS says: that it is not done is nothing
        about what was asked, and the platform has a route to try a FAILED job again. A client that was sent a part of
        a stream sees the error in it, too; without one the stream would look whole.
        """
        if isinstance(job_input.request, APICall):
            items = self._call(job_input.request, job_input, record, delivery)
        else:
            items = self._generate(job_input.request, job_input, record, delivery)
        sent = False
        try:
            async with aclosing(items):
                async for item in items:
                    if job_input.stream and not sent:
                        sent = True
                        record.first_item = record.seconds
                    yield item
            record.status = "COMPLETED"
            return
        except APIError as api_error:
            error = api_error
        except JobFailure:
            raise
        except Exception:
            logger.exception("a job failed")
            error = APIError("The server had an error while processing your request.", status=500)
        record.error = error.code or error.type
        interrupted = error.status >= 500 and await self._engine_is_gone()
        fails = interrupted or self._settings.job_errors == "failed"
        if sent or not fails:
            yield self._error_item(value, error)
        if fails:
            raise _failure(value, error)
        record.status = "COMPLETED"

    async def _engine_is_gone(self) -> bool:
        """Whether the engine is stopped or dead; of a death its last errors may tell a moment before it is seen."""
        if self._engine.health().live and self._engine.death_lag:
            died = asyncio.ensure_future(self._engine.died())
            await asyncio.wait({died}, timeout=self._engine.death_lag)
            died.cancel()
        return not self._engine.health().live

    async def _call(
        self, call: APICall, job_input: JobInput, record: JobRecord, delivery: Delivery
    ) -> AsyncGenerator[Any, None]:
        """The items of a request to the engine's HTTP API, or to what this door answers itself."""
        path = call.path.partition("?")[0]
        if path in own_routes.PATHS and not any(route.matches(path) for route in self._engine.served_routes):
            yield await own_routes.answer(path, call.method, self._engine)
            return
        headers = request_headers(call.request_id)
        app = self._engine.app
        extensions = counting(record.usage)
        async with request(
            app, call.method, call.path, headers=headers, json=call.json, extensions=extensions
        ) as response:
            if response.status >= 400:
                error = from_upstream(response.status, await response.read())
                known = self._without_unknown(call, error)
                if known is None:
                    raise error
                async for item in self._call(known, job_input, record, delivery):
                    yield item
                return
            content_type = response.headers.get("content-type", "")
            if not content_type.startswith("text/event-stream"):
                yield whole_item(content_type, await response.read())
                return
            sent = False
            async for events in self._events(response, job_input):
                failure = await self._failure_among(events, record)
                if sent or failure is None:
                    for item in self._event_items(events, delivery):
                        yield item
                    sent = True
                if failure is not None:
                    raise failure

    def _without_unknown(self, call: APICall, error: APIError) -> APICall | None:
        """The request without the field that nobody knows, where such are only warned of; None for another error."""
        unknown = error.code == "unknown_parameter" or str(error).startswith(UNKNOWN_FIELD)
        if self._defaults.unknown_fields == "refuse" or not unknown or error.param not in (call.json or {}):
            return None
        logger.warning("%s: nobody knows the field '%s'; the job is served without it", call.path, error.param)
        return replace(call, json={name: value for name, value in (call.json or {}).items() if name != error.param})

    async def _events(self, response: Response, job_input: JobInput) -> AsyncGenerator[bytes, None]:
        """The events of a stream, as many together as go into one item."""
        size = job_input.batching.batch_size(self._batching)
        source = EventSource(response, single=size is not None)
        batches = drained(source, self._pace) if size is None else batched(source, size, tokens=lambda event: 1)
        async with aclosing(batches):
            async for batch in batches:
                yield b"".join(batch)

    async def _failure_among(self, events: bytes, record: JobRecord) -> JobFailure | None:
        """The error among a stream's events that is to fail the job; None for none, and for one that is output."""
        if b'"error"' not in events:
            return None
        for event in event_objects(events):
            if isinstance(event, dict) and event.get("error"):
                record.error = _code_of(event["error"])
                if self._settings.job_errors == "failed" or await self._engine_is_gone():
                    return JobFailure(_json({"error": event["error"]}))
                return None
        return None

    def _event_items(self, events: bytes, delivery: Delivery) -> Iterator[Any]:
        events = delivery.mark_events(events)
        if self._settings.raw_openai_output:
            # RunPod's OpenAI route puts the items of a stream together verbatim.
            return split_text(events.decode("utf-8", "replace"), LARGEST_ITEM)
        objects = event_objects(events)
        return iter([objects] if objects else [])

    async def _generate(
        self, asked: GenerateRequest, job_input: JobInput, record: JobRecord, delivery: Delivery
    ) -> AsyncGenerator[Any, None]:
        """The items of a native generation."""
        shape = native.shape(job_input.output_format, asked.model or self._engine.models[0])
        deltas: Pump[Delta] = Pump(generate(self._engine, asked, record.usage))
        try:
            if not job_input.stream:
                whole: list[Delta] = []
                while await deltas.wait():
                    whole += deltas.drain()
                yield shape(whole, True)
                return
            size = job_input.batching.batch_size(self._batching)
            if size is None:
                batches = drained(deltas, self._pace)
            else:
                batches = batched(deltas, size, tokens=lambda delta: delta.tokens)
            async with aclosing(batches):
                async for batch in batches:
                    for part in native.split_deltas(batch):
                        if native.worth_an_item(part):
                            yield {**shape(part, False), "delivery": delivery.next()}
        finally:
            await deltas.aclose()

    def _error_item(self, value: Any, error: APIError) -> Any:
        """An error as an item of the output: in a stream an event, else the object.

        RunPod's OpenAI route answers a FAILED job with a bare 500, so that the error's type, param, code and message
        reach a client only as output. Without an event an OpenAI client would take the stream for an empty one that
        ended well.
        """
        path = _path_of(value, self._defaults.output_format)
        if path and wants_stream(value):
            return error_event(error, path).decode() if self._settings.raw_openai_output else [error_body(error, path)]
        return error_body(error, path)


def _code_of(error: Any) -> str:
    return str(error.get("code") or error.get("type") or "error") if isinstance(error, dict) else "error"


def _failure(value: Any, error: APIError) -> JobFailure:
    return JobFailure(_json(error_body(error, _path_of(value))))


def _path_of(value: Any, output_format: OutputFormat = "choices") -> str:
    """The route that a job asks for, also a wrong one; empty for a native job whose items are no events.

    Args:
        output_format: of a native job that does not say.
    """
    if not isinstance(value, dict):
        return ""
    route = value.get("openai_route") or value.get("route")
    is_chat = value.get("openai_input") or (value.get("output_format") or output_format) == "openai"
    return str(route or (CHAT_COMPLETIONS if is_chat else ""))


def event_objects(events: bytes) -> list[Any]:
    """The objects that whole events carry; `[DONE]` is not one."""
    return [msgspec.json.decode(data) for data in payloads(events) if data != b"[DONE]"]


def split_text(text: str, limit: int) -> Iterator[str]:
    """`text` in pieces of at most `limit` bytes of JSON: cut between events, inside one only where it is larger."""
    if len(text) * _JSON_BYTES <= limit or len(msgspec.json.encode(text)) <= limit:
        yield text
        return
    middle = len(text) // 2
    cut = text.rfind("\n\n", 0, middle) + 2
    if cut < 2:
        cut = text.find("\n\n", middle) + 2
    if cut < 2 or cut >= len(text):
        cut = middle
    yield from split_text(text[:cut], limit)
    yield from split_text(text[cut:], limit)


def whole_item(content_type: str, body: bytes) -> Any:
    """A response that is not a stream as an item: JSON as its value, text as a string, anything else in base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return msgspec.json.decode(body)
    if kind.startswith("text/"):
        return body.decode("utf-8", "replace")
    return {"content_type": kind, "base64": base64.b64encode(body).decode()} if body else None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
