"""The handler: a job in, the items of its answer out."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.asgi import Response, request
from engineroom.errors import APIError
from engineroom.jobs import Call, Delta, GenerateRequest, JobInput, Pace, Pump, batched, drained, generate, wants_stream
from engineroom.openai.errors import error_body, error_event
from engineroom.openai.upstream_errors import from_upstream

from . import native
from .items import Events, object_items, text_items, whole_item

if TYPE_CHECKING:
    from engineroom.engine import Engine

    from .settings import RunPodSettings

logger = logging.getLogger(__name__)


class JobFailed(Exception):
    """The job is to be marked FAILED; its text is the error's JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a job.

    stream: whether the client wants the items one by one, as they come.
    items: JSON values. Closing them aborts the generation. They raise only `JobFailed`.
    """

    stream: bool
    items: AsyncGenerator[Any, None]


class Handler:
    """Answers jobs from an engine. One for a worker: all its streams share a pace."""

    def __init__(self, engine: Engine, settings: RunPodSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._pace = Pace()

    def answer(self, job: Mapping[str, Any]) -> Answer:
        """The answer to a job as the platform hands it out: an object with `id` and `input`."""
        self._engine.timeline.mark("first job")
        value = job.get("input")
        try:
            job_input = JobInput.parse(value, self._engine)
        except APIError as error:
            return Answer(wants_stream(value), self._refusal(value, error))
        return Answer(job_input.stream, self._items(value, job_input))

    async def _refusal(self, value: Any, error: APIError) -> AsyncGenerator[Any, None]:
        yield self._error(value, error)

    async def _items(self, value: Any, job_input: JobInput) -> AsyncGenerator[Any, None]:
        asked = job_input.request
        items = self._call(asked, job_input) if isinstance(asked, Call) else self._native(asked, job_input)
        try:
            async with aclosing(items):
                async for item in items:
                    yield item
        except APIError as error:
            yield self._error(value, error)
        except JobFailed:
            raise
        except Exception:
            logger.exception("a job failed")
            yield self._error(value, APIError("The server had an error while processing your request.", status=500))

    async def _call(self, call: Call, job_input: JobInput) -> AsyncGenerator[Any, None]:
        body = b"" if call.json is None else msgspec.json.encode(call.json)
        async with request(self._engine.app, call.method, call.path, body=body) as response:
            if response.status >= 400:
                raise from_upstream(response.status, await response.read())
            content_type = response.headers.get("content-type", "")
            if not content_type.startswith("text/event-stream"):
                yield whole_item(content_type, await response.read())
                return
            async for events in self._events(response, job_input):
                for item in self._event_items(events):
                    yield item

    async def _events(self, response: Response, job_input: JobInput) -> AsyncGenerator[bytes, None]:
        size = self._settings.batch_size(job_input.batching)
        source = Events(response, single=size is not None)
        batches = drained(source, self._pace) if size is None else batched(source, size, tokens=lambda event: 1)
        async with aclosing(batches):
            async for batch in batches:
                yield b"".join(batch)

    def _event_items(self, events: bytes) -> Iterator[Any]:
        if self._settings.job_errors == "failed" and b'"error"' in events:
            for event in object_items(events):
                for told in event:
                    if isinstance(told, dict) and told.get("error"):
                        raise JobFailed(_json(told))
        return text_items(events) if self._settings.raw_openai_output else object_items(events)

    async def _native(self, asked: GenerateRequest, job_input: JobInput) -> AsyncGenerator[Any, None]:
        output_format = job_input.output_format or self._settings.native_output_format
        shape = native.shape(output_format, asked.model or self._engine.models[0])
        pump: Pump[Delta] = Pump(generate(self._engine, asked))
        try:
            if not job_input.stream:
                deltas: list[Delta] = []
                while await pump.wait():
                    deltas += pump.drain()
                yield shape(deltas, True)
                return
            size = self._settings.batch_size(job_input.batching)
            batches = (
                drained(pump, self._pace) if size is None else batched(pump, size, tokens=lambda delta: delta.tokens)
            )
            async with aclosing(batches):
                async for batch in batches:
                    for part in native.within(batch):
                        if native.worth_an_item(part):
                            yield shape(part, False)
        finally:
            await pump.close()

    def _error(self, value: Any, error: APIError) -> Any:
        """An error as the item that takes its type, param, code and message furthest.

        RunPod's OpenAI route answers a FAILED job with a bare 500, which OpenAI clients retry: the error is output
        there. In a stream it must be an event, or the client would see an empty stream that ended well.
        """
        path, name = "", "openai_route"
        if isinstance(value, dict):
            name = "openai_route" if value.get("openai_route") is not None else "route"
            path = str(value.get(name) or "")
        body = error_body(error, path)
        if self._settings.job_errors == "failed":
            raise JobFailed(_json(body))
        if path and wants_stream(value):
            return error_event(error, path).decode() if self._settings.raw_openai_output else [body]
        return _json(body) if path and name == "openai_route" else body


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
