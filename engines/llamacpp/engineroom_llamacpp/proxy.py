"""The proxy to llama.cpp, which answers everything that generates as a stream; see `requests` for why."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import msgspec

from engineroom.openai.event_stream import wants_usage_event
from engineroom.openai.routes import COMPLETIONS, EMBEDDINGS, TEXT_ROUTES
from engineroom.openai.stop_strings import RETURN_STOP_REASON
from engineroom.server import ServerEngine, StreamedProxy, StreamRewriter

from .stream_rewriter import LlamaCppRewriter, demands_call


class LlamaCppProxy(StreamedProxy):
    """Rewrites only the streams that deviate: a plain chat's is passed on as bytes.

    Args:
        engine: the engine.
        adapters: the names of its adapters, which clients may ask for.
    """

    def __init__(self, engine: ServerEngine, adapters: Container[str]) -> None:
        super().__init__(engine)
        self._adapters = adapters

    def make_rewriter(self, path: str, json: Mapping[str, Any]) -> StreamRewriter | None:
        deviates = path == COMPLETIONS or json.get("logprobs") or demands_call(path, json)
        deviates = deviates or json.get(RETURN_STOP_REASON)
        deviates = deviates or not json.get("stream") or (wants_usage_event(json) and (json.get("n") or 1) > 1)
        adapter = json.get("model") if json.get("model") in self._adapters else None
        return LlamaCppRewriter(path, json, adapter) if path in TEXT_ROUTES and (deviates or adapter) else None

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if path != EMBEDDINGS:
            return body
        response = msgspec.json.decode(body)
        # OpenAI's embeddings carry a usage without completion tokens, and nothing of the engine's own.
        usage = response.get("usage") or {}
        response["usage"] = {name: usage.get(name, 0) for name in ("prompt_tokens", "total_tokens")}
        return msgspec.json.encode(response)
