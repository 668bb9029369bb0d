"""The routes by which clients come back to a response that is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import msgspec

from ....asgi.types import Scope, Send, send_body
from ....errors import APIError
from ...routes import RESPONSES
from ...validation import check, invalid
from .store import ResponseStore

_INPUT_ITEMS = "/input_items"


class ListOptions(msgspec.Struct):
    """The query of a list of items."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


async def serve_stored(store: ResponseStore, scope: Scope, send: Send) -> None:
    """GET and DELETE of one response, and GET of its input items.

    Raises:
        APIError: 404 for a response that is not kept, and for other routes; 400 for a query that is not served.
    """
    if scope["method"] == "POST":
        # Cancelling is for what runs in the background, and there is nothing that compacts.
        raise APIError(f"Invalid URL (POST {scope['path']})", status=404)
    name = scope["path"].removeprefix(RESPONSES + "/")
    response_id = name.removesuffix(_INPUT_ITEMS)
    stored = await store.get(response_id)
    if stored is None:
        raise APIError(
            f"Response with id '{response_id}' not found: it was made with another key or with 'store' false, was "
            "deleted, or is not kept any more.",
            status=404,
            param="response_id",
            code="response_not_found",
        )
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    answer: dict[str, Any]
    if scope["method"] == "DELETE" and name == response_id:
        await store.drop(response_id)
        answer = {"id": response_id, "object": "response", "deleted": True}
    elif name != response_id:
        earlier = await store.conversation(stored.previous) if stored.previous else []
        answer = _page([*earlier, *stored.input], query)
    else:
        if query.get("stream") == "true":
            message = "A response that is kept cannot be streamed again."
            raise APIError(message, param="stream", code="unsupported_parameter")
        answer = stored.response
    await send_body(send, 200, msgspec.json.encode(answer), b"application/json")


def _page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """A page of items, the newest first unless the query wants it otherwise."""
    numbers = {"limit": int(query["limit"])} if query.get("limit", "").isdecimal() else {}
    options = check({**query, **numbers}, ListOptions)
    items = items if options.order == "asc" else items[::-1]
    if options.after is not None:
        places = [place for place, item in enumerate(items) if item.get("id") == options.after]
        if not places:
            raise invalid(f"Invalid 'after': there is no item with id '{options.after}'.", "after", "invalid_value")
        items = items[places[0] + 1 :]
    page = items[: options.limit]
    ends = {"first_id": page[0].get("id"), "last_id": page[-1].get("id")} if page else {"first_id": "", "last_id": ""}
    return {"object": "list", "data": page, **ends, "has_more": len(page) < len(items)}
