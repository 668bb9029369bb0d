"""The proxy's view of FastDeploy: always a stream from there, errors found in it, one usage for all choices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.asgi import Scope, Send, send_body
from engineroom.errors import APIError
from engineroom.openai import sse
from engineroom.openai.aggregate import Aggregator
from engineroom.openai.body import Request
from engineroom.server import Proxy
from engineroom.server.proxy import decode_object

from .errors import normalise

if TYPE_CHECKING:
    import aiohttp


_CUT_SHORT = (b'"finish_reason":"recover_stop"', b'"finish_reason":"length"')
"""FastDeploy's word for an answer that had to end early for want of memory, and OpenAI's."""


class FastDeployProxy(Proxy):
    """Whether the client asked for a stream or not, FastDeploy was: not streamed it hides errors and loses answers."""

    async def answer(self, scope: Scope, request: Request, response: aiohttp.ClientResponse, send: Send) -> None:
        if response.status == 304:
            raise APIError("The engine's weights are not loaded.", status=503, code="engine_unavailable", retry_after=2)
        if response.content_type != "text/event-stream":
            await super().answer(scope, request, response, send)
            return
        asked = request.json or {}
        events = _events(response, scope["path"], asked.get("n") or 1)
        if asked.get("stream"):
            await _pass_on(events, send)
        else:
            await _collect(events, send)

    async def rewrite(self, path: str, body: bytes) -> bytes:
        """The pooling routes send their errors under 200."""
        if body.startswith(b'{"error"'):
            raise normalise(500, body)
        return body


async def _events(response: aiohttp.ClientResponse, path: str, choices: int) -> AsyncIterator[list[bytes]]:
    """The stream's JSON texts, those that came together in one list; without [DONE].

    Raises:
        APIError: for an error frame, and where the stream ends before [DONE].
    """
    parser = sse.EventParser()
    usage = _Usage(choices) if path == "/v1/completions" else None
    async for chunk in response.content.iter_any():
        found = []
        for data in parser.feed(chunk):
            if data == b"[DONE]":
                if usage is not None and usage.last is not None:
                    found.append(usage.total())
                yield found
                return
            if data.startswith(b'{"error"'):
                if found:
                    yield found
                raise normalise(500, data)
            if usage is None or not usage.take(data):
                found.append(data.replace(*_CUT_SHORT) if _CUT_SHORT[0] in data else data)
        if found:
            yield found
    raise APIError("The engine ended the stream before it was complete.", status=502, code="engine_error")


class _Usage:
    """FastDeploy's completions tell the usage of each choice as it ends; clients expect one, of all, at the end.

    Each of a prompt's `n` choices counts that prompt again.
    """

    def __init__(self, choices: int) -> None:
        self._choices = choices
        self._prompt = self._completion = 0
        self.last: dict[str, Any] | None = None

    def take(self, data: bytes) -> bool:
        """Whether this event is a usage; it is kept then."""
        if b'"usage"' not in data or (event := decode_object(data)) is None or event.get("choices"):
            return False
        self._prompt += event["usage"]["prompt_tokens"]
        self._completion += event["usage"]["completion_tokens"]
        self.last = event
        return True

    def total(self) -> bytes:
        assert self.last is not None
        prompt = self._prompt // self._choices
        told = {
            "prompt_tokens": prompt,
            "completion_tokens": self._completion,
            "total_tokens": prompt + self._completion,
        }
        return msgspec.json.encode({**self.last, "usage": {**self.last["usage"], **told}})


async def _pass_on(events: AsyncIterator[list[bytes]], send: Send) -> None:
    """As a stream; its headers wait for the first event, so that an error before it has its own status."""
    started = False
    async for together in events:
        if not started:
            await send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
            started = True
        await send({"type": "http.response.body", "body": b"".join(map(sse.encode, together)), "more_body": True})
    await send({"type": "http.response.body", "body": sse.DONE})


async def _collect(events: AsyncIterator[list[bytes]], send: Send) -> None:
    """As one answer, the way it would have been without streaming."""
    whole = Aggregator()
    async for together in events:
        for data in together:
            whole.add(msgspec.json.decode(data))
    await send_body(send, 200, msgspec.json.encode(whole.answer()), b"application/json")
