"""`GET /v1/models` with every served name, and `GET /v1/models/{name}`, which few servers have."""

from __future__ import annotations

from typing import Any

import msgspec

from ..asgi.types import ASGIApp, Message, Receive, Scope, Send, send_body
from ..engine import RunningEngine
from ..errors import APIError

LIST = "/v1/models"


class ModelList:
    """The list of models as the engine's app gives it, completed, and each model's own URL, found in that list.

    Args:
        app: answers for the list.
        engine: its names are listed first, also where its app lists fewer: some servers take only one.
    """

    def __init__(self, app: ASGIApp, engine: RunningEngine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        answer = await self._listed({**scope, "path": LIST, "query_string": b""}, receive)
        if path != LIST:
            name = path.removeprefix(LIST + "/")
            answer = next((model for model in answer["data"] if model["id"] == name), {})
            if not answer:
                message = f"The model `{name}` does not exist."
                raise APIError(message, status=404, param="model", code="model_not_found")
        await send_body(send, 200, msgspec.json.encode(answer), b"application/json")

    async def _listed(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            parts.append(message.get("body", b""))

        await self._app(scope, receive, collect)
        answer: dict[str, Any] = msgspec.json.decode(b"".join(parts))
        listed = {model["id"]: model for model in answer["data"]}
        like = next(iter(listed.values()), {"object": "model", "created": 0, "owned_by": self._engine.name})
        served = [listed.pop(name, {**like, "id": name}) for name in self._engine.models]
        answer["data"] = [*served, *listed.values()]
        return answer
