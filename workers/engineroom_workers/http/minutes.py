"""How much of something a client used in the last minute: counted by `limits`, in memory or in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from engineroom.errors import Problem, SettingsError

from .redis_link import RedisAway

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.storage.base import SlidingWindowCounterSupport
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    from .redis_link import RedisLink


_MINUTE_S = 60


class Window(NamedTuple):
    """The state of a limit.

    taken: whether what was asked for was still there.
    wait: seconds until it will be, if nothing else is taken; 0 where it was.
    reset: seconds until all of the limit is there again.
    """

    taken: bool
    limit: int
    remaining: int
    wait: float
    reset: float


class Used(NamedTuple):
    """What `limits` counted: in the minute before this one, which counts less with each second and not at all in
    `before_for` seconds; and in this one, which becomes the one before in `now_for`."""

    before: int
    before_for: float
    now: int
    now_for: float

    @property
    def all(self) -> int:
        return int(self.before * self.before_for / _MINUTE_S) + self.now

    def wait(self, room: int) -> float:
        """Seconds until not more than `room` is used."""
        if self.all <= room:
            return 0
        if self.now <= room:
            return _fading(self.before, room - self.now) - (_MINUTE_S - self.before_for)
        return self.now_for + _fading(self.now, room)


def _fading(count: int, room: int) -> float:
    """Seconds of a minute after which a count that fades away during it is, rounded down, not more than `room`."""
    return _MINUTE_S * max(0.0, 1 - (room + 1) / count)


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
        storage = cast("SlidingWindowCounterSupport", limiter.storage)
        before, before_for, now, now_for = await storage.get_sliding_window(item.key_for(what, who), _MINUTE_S)
        used = Used(before, before_for, now, max(0.0, now_for - _MINUTE_S))
        wait = 0 if taken else used.wait(limit - cost)
        return Window(taken, limit, max(0, limit - used.all), wait, used.wait(0))

    def _item(self, limit: int) -> RateLimitItem:
        from limits import RateLimitItemPerMinute

        if limit not in self._items:
            self._items[limit] = RateLimitItemPerMinute(limit, namespace="engineroom")
        return self._items[limit]
