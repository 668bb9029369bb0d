"""The responses that clients may come back to, by `previous_response_id` or by a reference to an item."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from ....asgi.types import Scope
from ....errors import APIError
from ...validation import invalid

LARGEST = 64_000_000
"""Bytes of JSON that are kept in memory, and that one conversation may have. The least recently used go first."""

LARGEST_RESPONSE = LARGEST // 4
"""Bytes of JSON that one response may have, with the input that it answers."""

_KEY = "engineroom.responses"


class Storage(Protocol):
    """Where responses are kept, encoded, by keys that say nothing to anybody."""

    async def get(self, key: str) -> bytes | None:
        """What is kept under a key; None where there is nothing, or nothing any more.

        Raises:
            APIError: 503, it cannot be asked now.
        """

    async def put(self, entries: Mapping[str, bytes]) -> None:
        """Keep these; what is under their keys already is replaced."""

    async def drop(self, key: str) -> None:
        """Forget what is kept under a key.

        Raises:
            APIError: 503, it cannot be asked now.
        """


class MemoryStorage:
    """Keeps entries in this process' memory, for as long as it runs; the least recently used go first.

    Args:
        largest: bytes that all of them may take.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._size = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    async def put(self, entries: Mapping[str, bytes]) -> None:
        for key, entry in entries.items():
            await self.drop(key)
            self._entries[key] = entry
            self._size += len(key) + len(entry)
        while self._size > self._largest:
            await self.drop(next(iter(self._entries)))

    async def drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(key) + len(entry)


class _KeptFields(msgspec.Struct):
    """The part of a kept response that is read here."""

    id: str
    output: list[dict[str, Any]]
    previous_response_id: str | None = None


class _Kept(msgspec.Struct):
    response: _KeptFields


class StoredResponse(msgspec.Struct):
    """One response, and the input items that it answers beyond those of the response before it."""

    response: dict[str, Any]
    input: list[dict[str, Any]]

    @property
    def previous(self) -> str | None:
        """The id of the response before it."""
        previous: str | None = self.response.get("previous_response_id")
        return previous

    @property
    def items(self) -> list[dict[str, Any]]:
        """All items: of the input, and of the output."""
        return [*self.input, *self.response["output"]]


class ResponseStore:
    """The responses of one client: no other can read, continue or delete them, whoever knows their ids.

    Args:
        storage: where they are; clients share it.
        owner: the client's name; empty where there are no keys to tell clients apart.
    """

    def __init__(self, storage: Storage, owner: str = "") -> None:
        self._storage = storage
        self._owner = owner

    @staticmethod
    def encode(stored: StoredResponse) -> bytes | None:
        """A response as it is kept; None for one that is too large to be."""
        encoded = msgspec.json.encode(stored)
        return encoded if len(encoded) <= LARGEST_RESPONSE else None

    async def put(self, stored: StoredResponse, encoded: bytes) -> None:
        """Keep a response, and note which items are in it."""
        response_id: str = stored.response["id"]
        names = [item["id"] for item in stored.items if isinstance(item.get("id"), str)]
        items = {self._key("item", name): response_id.encode() for name in names}
        await self._storage.put({**items, self._key("response", response_id): encoded})

    async def get(self, response_id: str) -> StoredResponse | None:
        """A response that is still kept."""
        encoded = await self._storage.get(self._key("response", response_id))
        return None if encoded is None else _decoded(encoded, response_id)

    async def drop(self, response_id: str) -> None:
        """Forget a response. Which items it had stays noted, and leads nowhere."""
        await self._storage.drop(self._key("response", response_id))

    async def conversation(self, response_id: str) -> list[dict[str, Any]]:
        """All items up to a response and with it, oldest first.

        Raises:
            APIError: 400, it or one before it is not kept (any more), or all together are too large; 503, nobody can
                say now.
        """
        turns: list[StoredResponse] = []
        size = 0
        wanted: str | None = response_id
        while wanted is not None:
            encoded = await self._storage.get(self._key("response", wanted))
            stored = None if encoded is None else _decoded(encoded, wanted)
            if encoded is None or stored is None:
                raise invalid(
                    f"Previous response with id '{wanted}' not found: it was made with another key or with 'store' "
                    "false, was deleted, or is not kept any more; send the whole conversation as 'input' instead.",
                    "previous_response_id",
                    "previous_response_not_found",
                )
            size += len(encoded)
            if size > LARGEST:
                message = f"The conversation that ends with '{response_id}' is larger than {LARGEST} bytes."
                raise invalid(message, "previous_response_id", "conversation_too_large")
            turns.append(stored)
            wanted = stored.previous
        return [item for turn in reversed(turns) for item in turn.items]

    async def item(self, item_id: str, where: str) -> dict[str, Any]:
        """One item of any response.

        Raises:
            APIError: 404, it is not kept (any more); `where` is the field that refers to it. 503, nobody can say now.
        """
        response_id = await self._storage.get(self._key("item", item_id))
        stored = None if response_id is None else await self.get(response_id.decode(errors="replace"))
        items = [] if stored is None else stored.items
        wanted = next((item for item in items if item.get("id") == item_id), None)
        if wanted is not None:
            return wanted
        raise APIError(
            f"Item with id '{item_id}' not found: it was made with another key or with 'store' false, was deleted, or "
            "is not kept any more; send the item itself.",
            status=404,
            param=where,
            code="item_not_found",
        )

    def _key(self, kind: str, name: str) -> str:
        """A key of fixed length, whatever names clients make up. No two clients, kinds or names have the same."""
        parts = msgspec.json.encode([self._owner, kind, name])
        return f"{kind}:{hashlib.blake2b(parts, digest_size=20).hexdigest()}"


def _decoded(encoded: bytes, response_id: str) -> StoredResponse | None:
    """A response as it was kept; None for what another program has left in its place."""
    try:
        kept = msgspec.json.decode(encoded, type=_Kept)
        stored = msgspec.json.decode(encoded, type=StoredResponse)
    except (msgspec.DecodeError, RecursionError):
        return None
    return stored if kept.response.id == response_id else None


class Owned(msgspec.Struct):
    """Whose responses a request may come back to, and where they are; None for the engine's own memory."""

    owner: str
    storage: Storage | None = None


def keep_responses(scope: Scope, owner: str, storage: Storage | None = None) -> None:
    """Say of a request whose responses it may come back to. A door does that which tells clients apart.

    Args:
        owner: the client's name.
        storage: where they are; the memory of the engine's gateway by default.
    """
    scope[_KEY] = Owned(owner, storage)


def share_storage(scope: Scope, storage: Storage) -> None:
    """Say that responses are kept here, and not by each engine for itself, unless a door has named another place."""
    owned: Owned | None = scope.get(_KEY)
    if owned is None or owned.storage is None:
        scope[_KEY] = Owned("" if owned is None else owned.owner, storage)


def response_store(scope: Scope, memory: Storage) -> ResponseStore:
    """The store of a scope's client; in `memory` where no door has named another place."""
    owned: Owned | None = scope.get(_KEY)
    if owned is None:
        return ResponseStore(memory)
    return ResponseStore(owned.storage or memory, owned.owner)
