"""Requests and tokens a minute for each key."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from engineroom.asgi import ASGIApp, Headers, Receive, Scope, Send
from engineroom.errors import APIError, Problem, SettingsError
from engineroom.installation import how_to_install
from engineroom.openai.body import Request, get_request
from engineroom.openai.errors import error_response
from engineroom.openai.usage import get_usage

from ..redis import RedisAway
from .base import ErrorMiddleware, Resources
from .context import get_context

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.storage.base import SlidingWindowCounterSupport
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    from ..options import Options
    from ..redis import RedisLink

_MINUTE_S = 60
_BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English: https://help.openai.com/en/articles/4936856."""
_PROMPT_FIELDS = ("messages", "prompt", "input", "system", "instructions")


class RateLimitMiddleware(ErrorMiddleware):
    """Refuses with a 429 what exceeds a key's limit a minute, and tells every client how much of it is left.

    Tokens are charged when the request arrives, as OpenAI counts them: the prompt, estimated by its length, and the
    `max_tokens` it asks for. What it took beyond that is charged when the response is over.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        limits = resources.options.limits
        self._requests_per_minute = limits.requests_per_minute
        self._tokens_per_minute = limits.tokens_per_minute
        self._limiter = RateLimiter(resources.redis)

    @classmethod
    def wanted(cls, options: Options) -> bool:
        limits = options.limits
        # The file may give any key limits of its own, at any time.
        has_keys_file = options.access.api_keys_file is not None
        return bool(limits.requests_per_minute or limits.tokens_per_minute or has_keys_file)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # A list of models is no request to a model; health checks ask for it.
            await self.app(scope, receive, send)
            return
        context = get_context(scope)
        key = context.key
        requests = key.requests_per_minute or self._requests_per_minute
        tokens = key.tokens_per_minute or self._tokens_per_minute
        estimate = estimate_tokens(get_request(scope)) if tokens else 0
        headers = context.headers
        try:
            if requests:
                _check("requests", 1, await self._limiter.take("requests", key.name, requests, 1), headers)
            if tokens:
                _check("tokens", estimate, await self._limiter.take("tokens", key.name, tokens, estimate), headers)
        except APIError as error:
            await error_response(send, scope, error)
            return
        if not tokens:
            await self.app(scope, receive, send)
            return
        usage = get_usage(scope)  # Whoever looks has the tokens counted; here only a limit wants them.
        try:
            await self.app(scope, receive, send)
        finally:
            excess = usage.prompt_tokens + usage.completion_tokens - estimate
            if excess > 0:
                await self._limiter.take_up_to("tokens", key.name, tokens, excess)


def _check(unit: str, cost: int, budget: Budget, headers: Headers) -> None:
    """Put a budget's state into the response's headers, by OpenAI's names.

    Raises:
        APIError: 429 where it is used up.
    """
    headers += [
        (f"x-ratelimit-limit-{unit}".encode(), str(budget.limit).encode()),
        (f"x-ratelimit-remaining-{unit}".encode(), str(budget.remaining).encode()),
        (f"x-ratelimit-reset-{unit}".encode(), _duration(budget.reset).encode()),
    ]
    if budget.taken:
        return
    if cost > budget.limit:
        raise APIError(
            f"Request too large: it needs {cost} {unit}, and {budget.limit} per minute is the limit. A smaller "
            "`max_tokens` or a shorter prompt needs less.",
            status=429,
            type="rate_limit_error",
            code="rate_limit_exceeded",
        )
    wait = int(budget.wait) + 1
    raise APIError(
        f"Rate limit reached: {budget.limit} {unit} per minute. Please try again in {wait} s.",
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=wait,
    )


def estimate_tokens(request: Request | None) -> int:
    """An estimate of the tokens that a request takes; at least 1, so that an empty one does not come in for nothing."""
    if request is None or request.json is None:
        return 1
    json = request.json
    length = 0
    for name in _PROMPT_FIELDS:
        if name in json:
            length += _text_length(json[name])
    prompt = math.ceil(length / _BYTES_PER_TOKEN)
    completion = json.get("max_completion_tokens") or json.get("max_tokens") or json.get("max_output_tokens") or 0
    choices = json.get("n") or 1
    if not isinstance(completion, int) or not isinstance(choices, int):
        return max(1, prompt)  # The engine refuses it.
    return max(1, prompt + max(0, completion) * max(1, choices))


def _text_length(value: Any) -> int:
    """Characters of text anywhere in `value`; a number is a token id and counts as one token's."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return _text_length(value.get("content")) + _text_length(value.get("text"))
    if isinstance(value, list):
        return sum(map(_text_length, value))
    return _BYTES_PER_TOKEN if isinstance(value, int) else 0


def _duration(seconds: float) -> str:
    """As OpenAI writes durations: `850ms`, `7s`, `1m2s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class Budget(NamedTuple):
    """What a client has left of a limit a minute.

    taken: whether what was asked for was still there.
    limit: requests or tokens a minute.
    remaining: how many of them are left now.
    wait: seconds until what was asked for will be there, if nothing else is taken; 0 where it was.
    reset: seconds until all of the limit is there again.
    """

    taken: bool
    limit: int
    remaining: int
    wait: float
    reset: float


class SlidingWindow(NamedTuple):
    """What `limits` counted in two minutes, of which the first fades: it counts less with each second.

    previous: the count of the minute before this one.
    previous_expires: seconds until that does not count at all.
    current: the count of this minute.
    current_expires: seconds until this minute becomes the one before.
    """

    previous: int
    previous_expires: float
    current: int
    current_expires: float

    @property
    def used(self) -> int:
        return int(self.previous * self.previous_expires / _MINUTE_S) + self.current

    def wait(self, room: int) -> float:
        """Seconds until not more than `room` is used."""
        if self.used <= room:
            return 0
        if self.current <= room:
            return _seconds_to_fade(self.previous, room - self.current) - (_MINUTE_S - self.previous_expires)
        return self.current_expires + _seconds_to_fade(self.current, room)

    def budget(self, taken: bool, limit: int, cost: int) -> Budget:
        """What a client has left that asked for `cost`; what it got of that is counted here already."""
        wait = 0 if taken else self.wait(limit - cost)
        return Budget(taken, limit, max(0, limit - self.used), wait, self.wait(0))


def _seconds_to_fade(count: int, room: int) -> float:
    """Seconds of a minute after which a count that fades away during it is, rounded down, not more than `room`."""
    return _MINUTE_S * max(0.0, 1 - (room + 1) / count)


class LocalCounts:
    """Limits a minute of this process alone, as `limits` counts them in Redis: a minute begins with the clock's."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], tuple[float, int, int]] = {}
        """By unit, owner and limit: the minute, and what was taken in the one before and in it."""

    def take(self, unit: str, owner: str, limit: int, cost: int) -> Budget:
        """Take `cost` of the `limit` a minute that `owner` has of `unit`; all or nothing."""
        minute, passed = divmod(time.time(), _MINUTE_S)
        counted, previous, current = self._counts.get((unit, owner, limit), (minute, 0, 0))
        if counted != minute:
            previous = current if counted == minute - 1 else 0
            current = 0
        remaining = _MINUTE_S - passed
        fading = remaining if previous else 0.0
        taken = SlidingWindow(previous, fading, current, remaining).used + cost <= limit
        if taken:
            current += cost
        self._counts[unit, owner, limit] = (minute, previous, current)
        return SlidingWindow(previous, fading, current, remaining).budget(taken, limit, cost)


class RateLimiter:
    """Limits a minute, by sliding windows that workers share in Redis. While Redis is away each counts for itself.

    Args:
        link: None where there is no Redis.

    Raises:
        SettingsError: the library that counts in Redis is not installed.
    """

    def __init__(self, link: RedisLink | None) -> None:
        self._link = link
        self._local = LocalCounts()
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._items: dict[int, RateLimitItem] = {}
        if link is None:
            return
        try:
            from limits.aio.storage import RedisStorage
            from limits.aio.strategies import SlidingWindowCounterRateLimiter
        except ModuleNotFoundError as error:
            raise SettingsError(
                [
                    Problem(
                        "REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE or API_KEYS_FILE",
                        f"with REDIS_URL needs the package limits: {how_to_install('engineroom-workers[limits]')}",
                    )
                ]
            ) from error
        shared: dict[str, Any] = {"implementation": "redispy", "connection_pool": link.pool}
        storage = RedisStorage(f"async+{link.url}", **shared)
        self._shared = SlidingWindowCounterRateLimiter(storage)

    async def take(self, unit: str, owner: str, limit: int, cost: int) -> Budget:
        """Take `cost` of the `limit` a minute that `owner` has of `unit`; all or nothing."""
        if self._link is not None and self._shared is not None:
            shared = self._shared
            try:
                return await self._link.ask(lambda: self._take(shared, unit, owner, limit, cost))
            except RedisAway:
                pass
        return self._local.take(unit, owner, limit, cost)

    async def take_up_to(self, unit: str, owner: str, limit: int, cost: int) -> None:
        """Take `cost`, or what is left if that is less."""
        budget = await self.take(unit, owner, limit, cost)
        if not budget.taken and budget.remaining:
            await self.take(unit, owner, limit, budget.remaining)

    async def _take(
        self, limiter: SlidingWindowCounterRateLimiter, unit: str, owner: str, limit: int, cost: int
    ) -> Budget:
        item = self._item(limit)
        taken = await limiter.hit(item, unit, owner, cost=cost)
        storage = cast("SlidingWindowCounterSupport", limiter.storage)
        counts = await storage.get_sliding_window(item.key_for(unit, owner), _MINUTE_S)
        previous, previous_expires, current, current_expires = counts
        # The library keeps a minute's count for two minutes.
        window = SlidingWindow(previous, previous_expires, current, max(0.0, current_expires - _MINUTE_S))
        return window.budget(taken, limit, cost)

    def _item(self, limit: int) -> RateLimitItem:
        from limits import RateLimitItemPerMinute

        if limit not in self._items:
            self._items[limit] = RateLimitItemPerMinute(limit, namespace="engineroom")
        return self._items[limit]
