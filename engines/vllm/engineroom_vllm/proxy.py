"""The proxy before vLLM: its list of models names no folder of this machine."""

from __future__ import annotations

import msgspec

from engineroom.openai.model_list import LIST
from engineroom.server import Proxy, ServerEngine


class VLLMProxy(Proxy):
    """Passes everything on; in the list of models a name stands for the folder that vLLM loaded.

    Args:
        name: what clients are to read.
        source: what vLLM was told to load, perhaps a folder.
    """

    def __init__(self, engine: ServerEngine, name: str, source: str) -> None:
        super().__init__(engine)
        self._name = name
        self._source = source

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if path != LIST:
            return body
        listed = msgspec.json.decode(body)
        for model in listed.get("data", ()) if isinstance(listed, dict) else ():
            if model.get("root") == self._source:
                model["root"] = self._name
            elif str(model.get("root")).startswith(("/", "~", ".")):
                model["root"] = model["id"]  # An adapter's.
        return msgspec.json.encode(listed)
