"""What the checks talk to: an engine's app in this process, or a server at a URL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec

from ..asgi.client import request
from ..engine import ASSUMED, Capabilities, RunningEngine
from ..openai.routes import COMPLETIONS, MESSAGES, RESPONSES
from ..pool_gauges import PoolGauges
from ..pool_load import metric_values
from .responses import is_honest_refusal

_PERHAPS_MISSING = frozenset({COMPLETIONS, MESSAGES, RESPONSES})
"""Routes that a server of which nothing is known need not have."""


class NotOffered(Exception):
    """The engine does not offer what a check is about; the text says what."""


@dataclass(frozen=True)
class Expectations:
    """What only a person knows of an engine and its model; what it can do the engine itself declares.

    model: a served model name; the first one listed by default.
    max_model_len: tokens of context, so that a prompt can be made too long; None leaves that check out.
    running_metric: a gauge in the engine's metrics that counts running generations; None leaves out the checks
        that see an abort arrive.
    fields: further fields for every request, e.g. `{"temperature": 0}`.
    saying: the fields with which a model answers exactly a text where the last message is that text: a grammar, say.
        None where nothing makes it; checks of what a text must survive take then what the model answers.
    """

    model: str | None = None
    max_model_len: int | None = None
    running_metric: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    saying: Callable[[str], Mapping[str, Any]] | None = None


class TargetResponse(Protocol):
    """A response as it comes."""

    status: int
    headers: dict[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def read(self) -> bytes: ...


class TargetClient(Protocol):
    """One request; leaving the block early disconnects."""

    def __call__(self, method: str, path: str, body: bytes) -> AbstractAsyncContextManager[TargetResponse]: ...


class Target:
    """A running engine, and what is expected of it.

    Args:
        call: makes a request.
        metrics: the text of the metrics in which `expectations.running_metric` is found.
        expectations: what only a person knows.
        capabilities: what the engine declares; assumed for a server that declares nothing.
        paths: the routes that are served; None where nobody knows.
        pool_metrics: the text of the metrics in which a pool finds its gauges; `metrics` by default.
    """

    def __init__(
        self,
        call: TargetClient,
        metrics: Callable[[], Awaitable[str]],
        expectations: Expectations | None = None,
        capabilities: Capabilities = ASSUMED,
        paths: Collection[str] | None = None,
        pool_metrics: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.call = call
        self._metrics = metrics
        self.pool_metrics = pool_metrics or metrics
        self.expects = expectations or Expectations()
        self.capabilities = capabilities
        self._paths = paths

    async def model(self) -> str:
        """The model to ask for."""
        if self.expects.model:
            return self.expects.model
        _, listed = await self.get("/v1/models")
        return str(listed["data"][0]["id"])

    def serves(self, path: str) -> bool:
        """Whether the engine serves a route, as far as is known."""
        return self._paths is None or path in self._paths

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.call("GET", path, b"") as answer:
            return answer.status, _decode(await answer.read())

    async def delete(self, path: str) -> tuple[int, Any]:
        async with self.call("DELETE", path, b"") as answer:
            return answer.status, _decode(await answer.read())

    async def post(self, path: str, body: Mapping[str, Any] | bytes) -> tuple[int, Any]:
        """Post a body; status and decoded JSON."""
        async with self.call("POST", path, await self._body(body)) as answer:
            return answer.status, _decode(await answer.read())

    async def ask(self, path: str, body: Mapping[str, Any], *, offers: Sequence[str] = ()) -> dict[str, Any]:
        """Post a body that is to be answered with 200; the decoded JSON object.

        Args:
            offers: the fields that the body is about. Where the capabilities are only assumed, a 400 that names one
                of these is an honest refusal.

        Raises:
            NotOffered: the server refuses one of `offers` by name, or does not serve the route.
        """
        status, response = await self.post(path, body)
        if status == 404 and path in _PERHAPS_MISSING and self.capabilities.assumed:
            raise NotOffered(f"{path} (answered with a 404)")
        if offers and self.capabilities.assumed and is_honest_refusal(status, response, offers):
            raise NotOffered(f"{offers[0]} (refused with a 400)")
        fields = ", ".join(name for name in body if name not in ("messages", "prompt"))
        assert status == 200, f"POST {path} with {fields} is answered with 200; it was {status}: {response!r}"
        assert isinstance(response, dict), f"POST {path} is answered with a JSON object, not with this: {response!r}"
        return response

    async def stream(self, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Post a streamed request; all its events, `[DONE]` checked and taken off."""
        from ..openai.sse import EventParser

        parser = EventParser()
        events = []
        async with self.call("POST", path, await self._body({**body, "stream": True})) as answer:
            text = b"" if answer.status == 200 else await answer.read()
            assert answer.status == 200, f"a stream of {path} has status 200; it was {answer.status}: {text[:300]!r}"
            kind = answer.headers.get("content-type", "")
            assert kind.startswith("text/event-stream"), f"a stream is text/event-stream, not {kind!r}"
            async for chunk in answer:
                events += [bytes(data) for data in parser.feed(chunk)]
        assert events, f"a stream of {path} has events; it ended without any"
        assert events[-1] == b"[DONE]", f"a stream ends with [DONE], not with {events[-1]!r}"
        return [msgspec.json.decode(event) for event in events[:-1]]

    async def events(self, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Post a streamed request of Responses or of Messages; all its events, each named by its type."""
        async with self.call("POST", path, await self._body({**body, "stream": True})) as answer:
            text = await answer.read()
            assert answer.status == 200, f"a stream of {path} has status 200; it was {answer.status}: {text[:300]!r}"
            kind = answer.headers.get("content-type", "")
        assert kind.startswith("text/event-stream"), f"a stream is text/event-stream, not {kind!r}"
        events = []
        for block in text.decode().replace("\r\n", "\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
            if "data" not in fields or fields["data"] == "[DONE]":
                continue
            event: dict[str, Any] = msgspec.json.decode(fields["data"])
            name = fields.get("event")
            assert name == event.get("type"), f"an event is named by its type, which clients go by: {block!r}"
            events.append(event)
        assert events, f"a stream of {path} has events; it ended without any"
        return events

    async def running(self) -> float:
        """How many generations the engine runs now, by its own gauge."""
        assert self.expects.running_metric is not None, "running_metric is needed to count generations"
        return sum(metric_values(await self._metrics(), self.expects.running_metric))

    async def _body(self, body: Mapping[str, Any] | bytes) -> bytes:
        if isinstance(body, bytes):
            return body
        return msgspec.json.encode({"model": await self.model(), **self.expects.fields, **body})


def engine_target(engine: RunningEngine, expectations: Expectations | None = None) -> Target:
    """A started engine in this process."""

    def call(method: str, path: str, body: bytes) -> AbstractAsyncContextManager[TargetResponse]:
        return request(engine.app, method, path, body=body)

    gauges = PoolGauges()

    async def pool_metrics() -> str:
        return gauges.text(await engine.scrape())

    expectations = expectations or Expectations()
    if expectations.model is None:
        expectations = replace(expectations, model=engine.models[0])
    paths = {route.path for route in engine.served_routes}
    return Target(call, engine.metrics, expectations, engine.capabilities, paths, pool_metrics)


@asynccontextmanager
async def url_target(
    url: str, expectations: Expectations | None = None, api_key: str | None = None
) -> AsyncIterator[Target]:
    """A server at `url` (without `/v1`), over real sockets."""
    import aiohttp

    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:

        @asynccontextmanager
        async def call(method: str, path: str, body: bytes) -> AsyncIterator[TargetResponse]:
            async with session.request(method, url.rstrip("/") + path, data=body or None) as response:
                yield _URLResponse(response)

        async def metrics() -> str:
            async with session.get(url.rstrip("/") + "/metrics") as response:
                return await response.text()

        yield Target(call, metrics, expectations)


class _URLResponse:
    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.content.iter_any():
            yield chunk

    async def read(self) -> bytes:
        body: bytes = await self._response.read()
        return body


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")
