"""The routes by which clients come back to a response that is kept."""

from __future__ import annotations

from typing import Any

import msgspec

from ....asgi.types import Receive, Scope, Send, send_body
from ....errors import APIError
from ...routes import RESPONSES
from .store import ResponseStore

_INPUT_ITEMS = "/input_items"


class StoredResponses:
    """GET and DELETE of one response, and GET of its input items."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            # Cancelling is for what runs in the background, and there is nothing that compacts.
            raise APIError(f"Invalid URL (POST {scope['path']})", status=404)
        name = scope["path"].removeprefix(RESPONSES + "/")
        response_id = name.removesuffix(_INPUT_ITEMS)
        stored = self._store.get(response_id)
        if stored is None:
            message = f"Response with id '{response_id}' not found: responses are kept in this worker's memory only."
            raise APIError(message, status=404, param="response_id", code="response_not_found")
        answer: dict[str, Any]
        if scope["method"] == "DELETE":
            self._store.drop(response_id)
            answer = {"id": response_id, "object": "response", "deleted": True}
        elif name.endswith(_INPUT_ITEMS):
            earlier = self._store.conversation(stored.previous) if stored.previous else []
            # The newest come first, as OpenAI lists them.
            items = [*earlier, *stored.input][::-1]
            ends = {"first_id": items[0].get("id"), "last_id": items[-1].get("id")}
            answer = {"object": "list", "data": items, **ends, "has_more": False}
        else:
            if b"stream=true" in scope["query_string"]:
                message = "A response that is kept cannot be streamed again."
                raise APIError(message, param="stream", code="unsupported_parameter")
            answer = stored.response
        await send_body(send, 200, msgspec.json.encode(answer), b"application/json")
