"""`GET /v1/models` with every served name, and `GET /v1/models/{name}`, which few servers have.

OpenAI and Anthropic have the same two paths. Who sends Anthropic's header is answered in Anthropic's form
(https://docs.anthropic.com/en/api/models-list).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec

from ..asgi.types import ASGIApp, Message, Receive, Scope, Send, send_body
from ..engine import RunningEngine
from ..errors import APIError
from .errors import is_anthropic
from .validation import check, invalid

LIST = "/v1/models"


class PageOptions(msgspec.Struct):
    """The query of Anthropic's list of models."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    before_id: str | None = None
    after_id: str | None = None


class ModelList:
    """The list of models as the engine's app gives it, completed, and each model's own URL, found in that list.

    Args:
        app: answers for the list.
        engine: its names are listed first, also where its app lists fewer: some servers take only one. Its adapters are
            listed last, each with its `parent`.
    """

    def __init__(self, app: ASGIApp, engine: RunningEngine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        anthropic = is_anthropic(scope)
        answer = await self._listed({**scope, "path": LIST, "query_string": b""}, receive)
        if path != LIST:
            name = path.removeprefix(LIST + "/")
            answer = next((model for model in answer["data"] if model["id"] == name), {})
            if not answer:
                message = f"The model `{name}` does not exist."
                raise APIError(message, status=404, param="model", code="model_not_found")
            answer = _anthropic_model(answer) if anthropic else answer
        elif anthropic:
            answer = _anthropic_page(answer["data"], dict(parse_qsl(scope["query_string"].decode("latin-1"))))
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
        # The engine itself may list those that it has loaded, with the places where they are.
        adapters = [name for name in await self._engine.adapters() if name not in self._engine.models]
        rest = [model for name, model in listed.items() if name not in adapters]
        parent = {**like, "parent": next(iter(self._engine.models), None)}
        answer["data"] = [*served, *rest, *({**parent, "id": name, "root": name} for name in adapters)]
        return answer


def _anthropic_page(models: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the models, in their order; `before_id` asks for those that stand just before it."""
    numbers = {"limit": int(query["limit"])} if query.get("limit", "").isdecimal() else {}
    options = check({**query, **numbers}, PageOptions)
    ids = [model["id"] for model in models]
    for name in ("before_id", "after_id"):
        cursor = getattr(options, name)
        if cursor is not None and cursor not in ids:
            raise invalid(f"Invalid '{name}': there is no model with id '{cursor}'.", name, "invalid_value")
    first = 0 if options.after_id is None else ids.index(options.after_id) + 1
    end = len(ids) if options.before_id is None else ids.index(options.before_id)
    within = models[first:end]
    backwards = options.before_id is not None and options.after_id is None
    page = [_anthropic_model(model) for model in (within[-options.limit :] if backwards else within[: options.limit])]
    return {
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(page) < len(within),
    }


def _anthropic_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """One model, in Anthropic's form."""
    created = datetime.fromtimestamp(model.get("created") or 0, timezone.utc)
    return {
        "type": "model",
        "id": model["id"],
        "display_name": model["id"],
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
    }
