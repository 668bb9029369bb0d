"""The responses that clients may come back to, by `previous_response_id` or by a reference to an item."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from ....errors import APIError
from ...validation import invalid

LARGEST = 64_000_000
"""Bytes of JSON that are kept. The least recently used responses go first."""


_SHARE = 0.25
"""The largest part of it that one response may take."""


class StoredResponse(msgspec.Struct):
    """One response, and the input items that it answers beyond those of the response before it."""

    response: dict[str, Any]
    input: list[dict[str, Any]]

    @property
    def previous(self) -> str | None:
        """The id of the response before it."""
        previous: str | None = self.response.get("previous_response_id")
        return previous


class ResponseStore:
    """Keeps responses in this process' memory, for as long as the engine runs; encoded, so that their size is known.

    Args:
        largest: bytes that all of them may take.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._size = 0
        self._responses: OrderedDict[str, bytes] = OrderedDict()
        self._items: dict[str, str] = {}
        """Item's id -> the response that has it."""

    def put(self, stored: StoredResponse) -> None:
        """Keep a response, unless it alone would take the place of many."""
        encoded = msgspec.json.encode(stored)
        if len(encoded) > self._largest * _SHARE:
            return
        response_id = stored.response["id"]
        self._responses[response_id] = encoded
        self._size += len(encoded)
        for item in (*stored.input, *stored.response["output"]):
            if isinstance(item.get("id"), str):
                self._items[item["id"]] = response_id
        while self._size > self._largest:
            self.drop(next(iter(self._responses)))

    def get(self, response_id: str) -> StoredResponse | None:
        """A response that is still kept."""
        encoded = self._responses.get(response_id)
        if encoded is None:
            return None
        self._responses.move_to_end(response_id)
        return msgspec.json.decode(encoded, type=StoredResponse)

    def drop(self, response_id: str) -> bool:
        """Forget a response; whether it was there."""
        encoded = self._responses.pop(response_id, None)
        if encoded is None:
            return False
        self._size -= len(encoded)
        stored = msgspec.json.decode(encoded, type=StoredResponse)
        for item in (*stored.input, *stored.response["output"]):
            if self._items.get(item.get("id") or "") == response_id:
                del self._items[item["id"]]
        return True

    def conversation(self, response_id: str) -> list[dict[str, Any]]:
        """All items up to a response and with it, oldest first.

        Raises:
            APIError: 400, it or one before it is not kept (any more).
        """
        turns: list[StoredResponse] = []
        wanted: str | None = response_id
        while wanted is not None:
            stored = self.get(wanted)
            if stored is None:
                raise invalid(
                    f"Previous response with id '{wanted}' not found. Responses are kept in this worker's memory only, "
                    "the most recent ones; send the whole conversation as 'input' instead.",
                    "previous_response_id",
                    "previous_response_not_found",
                )
            turns.append(stored)
            wanted = stored.previous
        return [item for turn in reversed(turns) for item in (*turn.input, *turn.response["output"])]

    def item(self, item_id: str, where: str) -> dict[str, Any]:
        """One item of any response.

        Raises:
            APIError: 404, it is not kept (any more); `where` is the field that refers to it.
        """
        stored = self.get(self._items.get(item_id, ""))
        items = (*stored.input, *stored.response["output"]) if stored is not None else ()
        wanted: dict[str, Any] | None = next((item for item in items if item.get("id") == item_id), None)
        if wanted is not None:
            return wanted
        raise APIError(
            f"Item with id '{item_id}' not found. Items are kept in this worker's memory only, and not where 'store' "
            "is false; send the item itself.",
            status=404,
            param=where,
            code="item_not_found",
        )
