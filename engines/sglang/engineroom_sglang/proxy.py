"""The proxy's view of SGLang: its scores, as other servers tell them."""

from __future__ import annotations

from engineroom.openai.routes import RERANK
from engineroom.server import Proxy, ServerEngine

from .requests import as_rerank


class SGLangProxy(Proxy):
    """Passes everything on but the answer of a reranker.

    Args:
        model: the name that answers have.
    """

    def __init__(self, engine: ServerEngine, model: str) -> None:
        super().__init__(engine)
        self._model = model

    async def rewrite(self, path: str, body: bytes) -> bytes:
        return as_rerank(body, self._model) if path == RERANK else body
