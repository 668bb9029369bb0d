"""The proxy's view of SGLang: which stop string ended a choice, and scores, as other servers tell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engineroom.openai.routes import RERANK, TEXT_ROUTES
from engineroom.openai.stop_strings import RETURN_STOP_REASON
from engineroom.server import ServerEngine, StreamedProxy, StreamRewriter

from .requests import as_rerank

_MATCHED = b'"matched_stop":"'


class SGLangProxy(StreamedProxy):
    """Rewrites only what somebody asked for in another form; all else is passed on as bytes.

    Args:
        model: the name that answers have.
    """

    def __init__(self, engine: ServerEngine, model: str) -> None:
        super().__init__(engine)
        self._model = model

    def make_rewriter(self, path: str, json: Mapping[str, Any]) -> StreamRewriter | None:
        return StopRewriter() if path in TEXT_ROUTES and json.get(RETURN_STOP_REASON) else None

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if path == RERANK:
            return as_rerank(body, self._model)
        if path in TEXT_ROUTES and _MATCHED in body:
            return msgspec.json.encode(_with_stop_reasons(msgspec.json.decode(body)))
        return body


class StopRewriter(StreamRewriter):
    """SGLang tells the stop string as `matched_stop`; the core looks for `stop_reason`."""

    def concerns(self, data: bytes) -> bool:
        return _MATCHED in data

    def rewrite(self, event: dict[str, Any]) -> dict[str, Any]:
        return _with_stop_reasons(event)


def _with_stop_reasons(answer: dict[str, Any]) -> dict[str, Any]:
    for choice in answer.get("choices") or ():
        if isinstance(choice.get("matched_stop"), str):
            choice["stop_reason"] = choice.pop("matched_stop")
    return answer
