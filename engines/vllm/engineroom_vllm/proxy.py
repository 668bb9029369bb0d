"""vLLM's answers, passed on; a list of models without paths of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineroom.server import Proxy

from . import surface

if TYPE_CHECKING:
    from .engine import VLLMEngine


class VLLMProxy(Proxy):
    def __init__(self, engine: VLLMEngine) -> None:
        super().__init__(engine)
        self._vllm = engine

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if path != "/v1/models":
            return body
        return surface.without_paths(body, self._vllm.files.name, self._vllm.source)
