"""The connection to Redis, and what to do while there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from engineroom.breaker import Breaker
from engineroom.errors import EngineroomError, Problem, SettingsError
from engineroom.installation import how_to_install

if TYPE_CHECKING:
    from redis.asyncio import Redis

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_S = 0.5
"""How long Redis may hold a request up; it is there to serve requests, not they to wait for it."""
_POLLS = 20
"""How often at least we look for the reply within the timeout: where the loop is busy, it may have come unread."""
_REST_S = 5
"""For how long nobody asks a Redis that did not reply."""
_MAX_CONNECTIONS = 64


class RedisAway(EngineroomError):
    """Redis cannot be asked now; go on without it."""


class RedisLink:
    """A Redis that may be away: the door then serves on, without what it kept there, and says so.

    up: whether it replied the last time.

    Raises:
        SettingsError: the URL is not Redis', or the client library is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import ConnectionPool, Redis
        except ModuleNotFoundError as error:
            raise SettingsError(
                [Problem("REDIS_URL", f"needs the package redis: {how_to_install('engineroom-workers[limits]')}")]
            ) from error
        try:
            self.pool = ConnectionPool.from_url(
                url, socket_timeout=None, socket_connect_timeout=None, max_connections=_MAX_CONNECTIONS
            )
        except ValueError as error:
            raise SettingsError([Problem("REDIS_URL", f"is not a Redis URL: {error}")]) from error
        self.url = url
        self.client: Redis = Redis(connection_pool=self.pool)
        self.up = True
        self._breaker = Breaker(failures=1, rest=_REST_S)
        # Where all connections are in use, commands wait here: the pool would refuse them, as if Redis were away.
        self._free_connections = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Redis' reply to a command, which is sent only if Redis may be there.

        Raises:
            RedisAway: it does not reply, or did not a moment ago.
        """
        async with self._free_connections:
            return await self._ask(command)

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        from redis.exceptions import RedisError

        if not self._breaker.allow():
            raise RedisAway("Redis was unreachable a moment ago")
        try:
            reply = await _wait_for_reply(command())
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            self._breaker.failed()
            if self.up:
                self.up = False
                logger.warning("Redis is unreachable (%s); continuing without it", error or type(error).__name__)
            raise RedisAway(str(error)) from error
        self._breaker.succeeded()
        if not self.up:
            self.up = True
            logger.info("Redis is back")
        return reply

    async def close(self) -> None:
        await self.pool.disconnect()


async def _wait_for_reply(command: Awaitable[T]) -> T:
    """The reply within the timeout, of which time passes only as far as our own loop has turned.

    By the clock alone a burst of requests, or a busy machine, would look as if Redis did not reply.

    Raises:
        TimeoutError: none has come.
    """
    asking = asyncio.ensure_future(command)
    try:
        for _ in range(_POLLS):
            if (await asyncio.wait({asking}, timeout=_TIMEOUT_S / _POLLS))[0]:
                return asking.result()
        raise asyncio.TimeoutError
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
