"""How much of something a client used in the last minute: counted by `limits`, in memory or in Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.errors import Problem, SettingsError

from .redis_link import RedisAway

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    from .redis_link import RedisLink


class Window(NamedTuple):
    """The state of a limit. taken: whether what was asked for was still there; reset: seconds until some is again."""

    taken: bool
    limit: int
    remaining: int
    reset: float


class Minutes:
    """Sliding windows of a minute. While Redis is away each worker counts for itself.

    Raises:
        SettingsError: the library is not installed.
    """

    def __init__(self, link: RedisLink | None) -> None:
        try:
            from limits.aio.storage import MemoryStorage, RedisStorage
            from limits.aio.strategies import SlidingWindowCounterRateLimiter
        except ModuleNotFoundError as error:
            raise SettingsError(
                [
                    Problem(
                        "REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE or API_KEYS_FILE",
                        "needs the package limits: `pip install engineroom-workers[limits]`",
                    )
                ]
            ) from error
        self._link = link
        self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = None
        if link is not None:
            shared: dict[str, Any] = {"implementation": "redispy", "connection_pool": link.pool}
            storage = RedisStorage(f"async+{link.url}", **shared)
            self._shared = SlidingWindowCounterRateLimiter(storage)
        self._items: dict[int, RateLimitItem] = {}

    async def take(self, what: str, who: str, limit: int, cost: int) -> Window:
        """Take `cost` of the `limit` a minute that `who` has of `what`; all or nothing."""
        if self._link is not None and self._shared is not None:
            shared = self._shared
            try:
                return await self._link.ask(lambda: self._take(shared, what, who, limit, cost))
            except RedisAway:
                return await self._take(self._here, what, who, limit, cost)
        return await self._take(self._here, what, who, limit, cost)

    async def _take(
        self, limiter: SlidingWindowCounterRateLimiter, what: str, who: str, limit: int, cost: int
    ) -> Window:
        item = self._item(limit)
        taken = await limiter.hit(item, what, who, cost=cost)
        stats = await limiter.get_window_stats(item, what, who)
        return Window(taken, limit, int(stats.remaining), max(0.0, stats.reset_time - time.time()))

    def _item(self, limit: int) -> RateLimitItem:
        from limits import RateLimitItemPerMinute

        if limit not in self._items:
            self._items[limit] = RateLimitItemPerMinute(limit, namespace="engineroom")
        return self._items[limit]
