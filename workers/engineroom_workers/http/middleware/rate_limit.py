"""Requests and tokens a minute for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from engineroom.errors import Problem, SettingsError

from ..redis import RedisAway

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.storage.base import SlidingWindowCounterSupport
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    from ..redis import RedisLink

import math
from typing import TYPE_CHECKING

from engineroom.asgi import ASGIApp, Headers, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.body import KEY, Request
from engineroom.openai.errors import error_response

from ..context import get_context
from .base import Refusing, with_headers

if TYPE_CHECKING:
    from ..settings import LimitSettings

_BYTES_A_TOKEN = 4
"""OpenAI's rule of thumb for English: https://help.openai.com/en/articles/4936856."""


class Rates(Refusing):
    """Refuses with a 429 what is over a key's limit by the minute, and tells every client where it stands.

    Tokens are paid when the request comes, as OpenAI counts them: the prompt, estimated by its length, and the
    `max_tokens` it asks for. What the answer took beyond that is added when it is known.
    """

    def __init__(self, app: ASGIApp, settings: LimitSettings, minutes: Minutes) -> None:
        super().__init__(app)
        self._settings = settings
        self._minutes = minutes

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # A list of models is no request to a model; health checks ask for it.
            await self.app(scope, receive, send)
            return
        call = get_context(scope)
        headers: Headers = []
        send = with_headers(send, headers)
        requests = call.key.requests_per_minute or self._settings.requests_per_minute
        tokens = call.key.tokens_per_minute or self._settings.tokens_per_minute
        cost = _cost(scope.get(KEY)) if tokens else 0
        try:
            if requests:
                _check("requests", 1, await self._minutes.take("requests", call.key.name, requests, 1), headers)
            if tokens:
                _check("tokens", cost, await self._minutes.take("tokens", call.key.name, tokens, cost), headers)
        except APIError as error:
            await error_response(send, scope, error)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            call.settle()
            excess = call.prompt_tokens + call.completion_tokens - cost
            if tokens and excess > 0:
                # All or nothing is what the counter can do: more than what is left takes what is left.
                window = await self._minutes.take("tokens", call.key.name, tokens, excess)
                if not window.taken and window.remaining:
                    await self._minutes.take("tokens", call.key.name, tokens, window.remaining)


def _check(what: str, cost: int, window: Window, headers: Headers) -> None:
    """Note a limit's state in the answer's headers, by OpenAI's names.

    Raises:
        APIError: 429 where it is used up.
    """
    for name, value in ("limit", window.limit), ("remaining", window.remaining), ("reset", _duration(window.reset)):
        headers.append((f"x-ratelimit-{name}-{what}".encode(), str(value).encode()))
    if window.taken:
        return
    if cost > window.limit:
        raise APIError(
            f"Request too large: it needs {cost} {what}, and {window.limit} a minute is the limit. A smaller "
            "`max_tokens` or a shorter prompt needs less.",
            status=429,
            type="rate_limit_error",
            code="rate_limit_exceeded",
        )
    wait = int(window.wait) + 1
    raise APIError(
        f"Rate limit reached: {window.limit} {what} a minute. Please try again in {wait} s.",
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=wait,
    )


def _cost(request: Request | None) -> int:
    """An estimate; at least 1, so that nothing that is left empty comes in where no token is left."""
    if request is None or request.json is None:
        return 1
    json = request.json
    text = sum(_length(json.get(name)) for name in ("messages", "prompt", "input", "system", "instructions"))
    asked = json.get("max_completion_tokens") or json.get("max_tokens") or json.get("max_output_tokens") or 0
    choices = json.get("n") or 1
    whole = isinstance(asked, int) and isinstance(choices, int)
    return max(1, math.ceil(text / _BYTES_A_TOKEN) + (max(0, asked) * max(1, choices) if whole else 0))


def _length(value: Any) -> int:
    """Characters of text anywhere in `value`; a number is a token id and counts as one token's."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_length(part) for name, part in value.items() if name in ("content", "text"))
    if isinstance(value, list):
        return sum(_length(part) for part in value)
    return _BYTES_A_TOKEN if isinstance(value, int) else 0


def _duration(seconds: float) -> str:
    """As OpenAI writes durations: `850ms`, `7s`, `1m2s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


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
