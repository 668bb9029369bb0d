"""Whose responses a client may come back to, and where several workers keep them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engineroom.asgi import ASGIApp, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.routes import RESPONSES
from engineroom.openai.surfaces.responses.store import MemoryStorage, Storage, keep_responses

from ..redis import RedisAway, RedisLink
from .base import Middleware, Resources
from .context import ANONYMOUS, get_context

if TYPE_CHECKING:
    from ..options import Options

_RETRY_AFTER_S = 5
"""As long as the link lets a Redis rest that did not reply."""


class KeptResponsesMiddleware(Middleware):
    """Gives each key responses of its own, and all workers the same ones where REDIS_URL is set."""

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        ttl = resources.options.cache.responses_ttl
        self._storage: Storage | None = None
        if resources.redis is not None and ttl:
            self._storage = RedisStorage(resources.redis, ttl)

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.locked or options.limits.redis_url is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(RESPONSES):
            key = get_context(scope).key
            # A key may be called as those without one are; where workers share a Redis, not all may have keys.
            keep_responses(scope, "" if key is ANONYMOUS else key.name, self._storage)
        await self.app(scope, receive, send)


class RedisStorage:
    """Keeps entries in Redis for a time after their last use.

    While Redis is away, new ones are kept in this worker's memory, as each worker then counts its limits for itself.
    What is not there either is a 503, as it may be in Redis.

    Args:
        ttl: seconds after an entry's last use until Redis forgets it.
    """

    def __init__(self, link: RedisLink, ttl: int) -> None:
        self._link = link
        self._ttl = ttl
        self._memory = MemoryStorage()

    async def get(self, key: str) -> bytes | None:
        name = _name(key)

        async def ask() -> bytes | None:
            async with self._link.client.pipeline() as commands:
                commands.get(name)
                commands.expire(name, self._ttl)
                value = (await commands.execute())[0]
                return value if isinstance(value, bytes) else None

        try:
            value = await self._link.ask(ask)
        except RedisAway as error:
            value = await self._memory.get(key)
            if value is None:
                raise _away() from error
        return await self._memory.get(key) if value is None else value

    async def put(self, entries: Mapping[str, bytes]) -> None:
        async def ask() -> None:
            async with self._link.client.pipeline() as commands:
                for key, value in entries.items():
                    commands.set(_name(key), value, ex=self._ttl)
                await commands.execute()

        try:
            await self._link.ask(ask)
        except RedisAway:
            await self._memory.put(entries)

    async def drop(self, key: str) -> None:
        try:
            await self._link.ask(lambda: self._link.client.delete(_name(key)))
        except RedisAway as error:
            raise _away() from error
        await self._memory.drop(key)


def _name(key: str) -> str:
    return f"engineroom:responses:{key}"


def _away() -> APIError:
    return APIError(
        "The responses that are kept cannot be reached now, as Redis does not answer. Try again, or send the whole "
        "conversation as 'input'.",
        status=503,
        code="responses_unavailable",
        retry_after=_RETRY_AFTER_S,
    )
