"""Requests to an engine over the stand-in, whose model is called `a` unless a test says otherwise."""

from __future__ import annotations

from typing import Any

import msgspec

from engineroom.asgi import request
from engineroom_max.engine import MAXEngine

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


async def ask(engine: MAXEngine, path: str = CHAT, **body: object) -> tuple[int, Any]:
    content = {"messages": [{"role": "user", "content": "x"}]} if path == CHAT else {"prompt": "x"}
    async with request(engine.app, "POST", path, body=msgspec.json.encode({"model": "a", **content, **body})) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def seen(engine: MAXEngine, path: str = CHAT, **body: object) -> dict[str, Any]:
    """What reached the server."""
    _, answer = await ask(engine, path, **body)
    [choice] = answer["choices"]
    found: dict[str, Any] = msgspec.json.decode(choice["message"]["content"] if path == CHAT else choice["text"])
    return found
