"""The connection to Redis, and what to do while there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from engineroom.breaker import Breaker
from engineroom.errors import EngineroomError, Problem, SettingsError

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE_S = 0.5
"""How long a request may be held up by Redis; it is there to serve requests, not they to wait for it."""
_LOOKS = 20
"""How often at least the answer is looked for meanwhile: where the loop is busy, it is there and not read yet."""
_REST_S = 5
_CONNECTIONS = 64


class RedisAway(EngineroomError):
    """Redis cannot be asked now; go on without it."""


class RedisLink:
    """A Redis that may be away: the door then serves on, without what it kept there, and says so.

    Raises:
        SettingsError: the URL is none, or the client library is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import ConnectionPool, Redis
        except ModuleNotFoundError as error:
            raise SettingsError(
                [Problem("REDIS_URL", "needs the package redis: `pip install engineroom-workers[limits]`")]
            ) from error
        try:
            self.pool = ConnectionPool.from_url(
                url, socket_timeout=None, socket_connect_timeout=None, max_connections=_CONNECTIONS
            )
        except ValueError as error:
            raise SettingsError([Problem("REDIS_URL", f"is not a Redis URL: {error}")]) from error
        self.url = url
        self.client: Redis = Redis(connection_pool=self.pool)
        self.up = True
        self._breaker = Breaker(failures=1, rest=_REST_S)
        # More questions than connections wait for one here: the pool would refuse them, as if Redis were away.
        self._free = asyncio.Semaphore(_CONNECTIONS)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer of something that asks Redis.

        Raises:
            RedisAway: it does not answer, or did not a moment ago.
        """
        async with self._free:
            return await self._ask(question)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        from redis.exceptions import RedisError

        if not self._breaker.allow():
            raise RedisAway("Redis was away a moment ago")
        try:
            answer = await _patiently(question())
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            self._breaker.failed()
            if self.up:
                self.up = False
                logger.warning("Redis is away (%s); continuing without it", error or type(error).__name__)
            raise RedisAway(str(error)) from error
        self._breaker.succeeded()
        if not self.up:
            self.up = True
            logger.info("Redis is back")
        return answer

    async def close(self) -> None:
        await self.pool.disconnect()


async def _patiently(question: Awaitable[T]) -> T:
    """What comes within the patience, of which time passes only as far as our own loop has turned.

    By the clock alone a burst of requests, or a busy machine, would look as if Redis did not answer.

    Raises:
        TimeoutError: nothing has come.
    """
    asking = asyncio.ensure_future(question)
    try:
        for _ in range(_LOOKS):
            if (await asyncio.wait({asking}, timeout=_PATIENCE_S / _LOOKS))[0]:
                return asking.result()
        raise asyncio.TimeoutError
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
