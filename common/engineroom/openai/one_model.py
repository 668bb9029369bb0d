"""OpenAI's `GET /v1/models/{name}`, which few servers have: found in the list that every engine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..asgi import ASGIApp, Message, Receive, Scope, Send, send_body
from ..errors import APIError

if TYPE_CHECKING:
    from ..engine import Engine

LIST = "/v1/models"


class OneModel:
    """An engine's app, and one model's URL beside it.

    Args:
        app: answers for the list, and for all else.
        engine: its names count also where its list does not have them, as a server that lists the first alone.
    """

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(LIST + "/"):
            await self._app(scope, receive, send)
            return
        name = scope["path"].removeprefix(LIST + "/")
        listed = await self._listed({**scope, "path": LIST, "query_string": b""}, receive)
        found = next((model for model in listed if model["id"] == name), None)
        if found is None and name in self._engine.models and listed:
            found = {**listed[0], "id": name}
        if found is None:
            raise APIError(f"The model `{name}` does not exist.", status=404, param="model", code="model_not_found")
        await send_body(send, 200, msgspec.json.encode(found), b"application/json")

    async def _listed(self, scope: Scope, receive: Receive) -> list[dict[str, Any]]:
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            parts.append(message.get("body", b""))

        await self._app(scope, receive, collect)
        models: list[dict[str, Any]] = msgspec.json.decode(b"".join(parts))["data"]
        return models
