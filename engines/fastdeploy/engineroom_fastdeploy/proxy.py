"""The proxy's view of FastDeploy: always a stream from there, errors found in it, one usage for all choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.asgi import Scope, Send
from engineroom.errors import APIError
from engineroom.http_client import RelayableResponse
from engineroom.openai.body import Request
from engineroom.openai.routes import COMPLETIONS
from engineroom.openai.usage import ChoicesUsage
from engineroom.server import StreamedProxy, StreamRewriter

from .errors import normalise


class FastDeployProxy(StreamedProxy):
    """Whether the client asked for a stream or not, FastDeploy was: not streamed it hides errors and loses answers."""

    async def answer(self, scope: Scope, request: Request, response: RelayableResponse, send: Send) -> None:
        if response.status == 304:
            raise APIError("The engine's weights are not loaded.", status=503, code="engine_unavailable", retry_after=2)
        await super().answer(scope, request, response, send)

    def make_rewriter(self, path: str, json: Mapping[str, Any]) -> StreamRewriter:
        return FastDeployRewriter(path, json)

    async def rewrite(self, path: str, body: bytes) -> bytes:
        """The pooling routes send their errors under 200."""
        if body.startswith(b'{"error"'):
            raise normalise(500, body)
        return body


class FastDeployRewriter(StreamRewriter):
    """FastDeploy's completions tell the usage of each choice as it ends; clients expect one, of all, at the end."""

    def __init__(self, path: str, json: Mapping[str, Any]) -> None:
        self._usage = ChoicesUsage(json.get("n") or 1) if path == COMPLETIONS else None
        self._last_usage: dict[str, Any] | None = None

    def concerns(self, data: bytes) -> bool:
        return b'"recover_stop"' in data or (self._usage is not None and b'"usage"' in data)

    def rewrite(self, event: dict[str, Any]) -> dict[str, Any] | None:
        choices = event.get("choices")
        usage = event.get("usage")
        for choice in choices or ():
            # FastDeploy's word for an answer that had to end early for want of memory, and OpenAI's.
            if choice.get("finish_reason") == "recover_stop":
                choice["finish_reason"] = "length"
        if self._usage is None or choices or not usage:
            return event
        self._usage.add(usage, None)
        self._last_usage = event
        return None

    def last_event(self) -> dict[str, Any] | None:
        if self._usage is None or self._last_usage is None:
            return None
        return {**self._last_usage, "usage": {**self._last_usage["usage"], **(self._usage.total or {})}}
