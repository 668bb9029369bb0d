"""Where responses are kept: in memory up to a size, or in Redis."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

from engineroom.settings import WorkerSettings

from ...redis import RedisAway, RedisLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom.plugins import EngineChoice
    from engineroom.settings import SettingsGroup


class Entry(NamedTuple):
    """A kept response, whole, as JSON; `expires` by `time.time`."""

    expires: float
    body: bytes

    @property
    def ttl(self) -> int:
        """Seconds for which it is still good."""
        return max(0, int(self.expires - time.time()))


class Store(Protocol):
    """Keeps entries by a digest of their request."""

    async def get(self, key: bytes) -> Entry | None: ...

    async def put(self, key: bytes, entry: Entry) -> None: ...


class MemoryStore:
    """At most `limit` bytes of bodies; the least recently used go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    async def get(self, key: bytes) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= time.time():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    async def put(self, key: bytes, entry: Entry) -> None:
        self._drop(key)
        self._entries[key] = entry
        self._size += len(entry.body)
        while self._size > self._limit:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry.body)


def cache_namespace(choices: Sequence[EngineChoice]) -> str:
    """A name for who answers: the same for workers whose engines are set up alike, whatever their models are called.

    Two that serve different models, or one with other options, under one name must not answer for each other.
    """
    digest = hashlib.blake2b(digest_size=16)
    for choice in choices:
        groups: list[SettingsGroup] = [WorkerSettings, *choice.engine.settings(choice.env)]
        settings = (setting for group in groups for setting in group.describe() if not setting.secret)
        digest.update("\n".join(f"{setting.name}={setting.in_force(choice.env)[0]}" for setting in settings).encode())
    names = "+".join(choice.engine.name for choice in choices)
    return f"{names}:{digest.hexdigest()}"


class RedisStore:
    """Entries in Redis, which forgets them itself; while it is away there are none.

    Args:
        namespace: keeps those of different engines and models apart; `cache_namespace` gives one.
    """

    def __init__(self, link: RedisLink, namespace: str) -> None:
        self._link = link
        self._prefix = f"engineroom:cache:{namespace}:".encode()

    async def get(self, key: bytes) -> Entry | None:
        try:
            value = await self._link.ask(lambda: self._link.client.get(self._prefix + key))
        except RedisAway:
            return None
        if not isinstance(value, bytes):
            return None
        expires, _, body = value.partition(b"\n")
        try:
            return Entry(float(expires), body)
        except ValueError:
            return None  # Another program's, or an older one's.

    async def put(self, key: bytes, entry: Entry) -> None:
        value = b"%.3f\n" % entry.expires + entry.body
        try:
            await self._link.ask(lambda: self._link.client.set(self._prefix + key, value, ex=max(1, entry.ttl)))
        except RedisAway:
            return
