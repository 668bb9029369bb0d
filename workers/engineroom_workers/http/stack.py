"""The door's layers, each there only where a setting asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .app import build_app
from .metrics import DoorMetrics
from .reader import Reader

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp
    from engineroom.breaker import Breaker

    from .minutes import Minutes
    from .options import Options
    from .redis_link import RedisLink
    from .served import Served
    from .turns import Turns


class Stack:
    """From the socket inwards: browser's headers, CORS, keys, the door's own routes; then, for the engine's routes,
    metrics, the reading of the request, limits by the minute, turns, the breaker, the engine.

    Make it before any loop runs; `close()` it.

    app: what the server calls.

    Raises:
        SettingsError: the keys are wrong, or a library that a setting needs is not installed.
    """

    def __init__(self, engine: Served, options: Options) -> None:
        self.link: RedisLink | None = None
        self.turns: Turns | None = None
        self.breaker: Breaker | None = None
        self._engine = engine
        inner: ASGIApp = engine.app
        if options.watch.breaker_failures:
            from engineroom.breaker import Breaker

            from .tripping import Tripping

            self.breaker = Breaker(options.watch.breaker_failures, options.watch.breaker_rest)
            inner = Tripping(inner, self.breaker)
        inner = self._limited(inner, options)
        inner = Reader(inner, options.worker.max_body, options.http.body_timeout)
        self.app: ASGIApp = build_app(engine, inner, DoorMetrics(engine), self.state)
        self.app = self._guarded(self.app, options)

    def state(self) -> dict[str, Any]:
        """What its layers are at, for `/health`."""
        state: dict[str, Any] = {}
        if self.turns is not None:
            state |= {"running": self.turns.running, "waiting": self.turns.waiting}
        if self.breaker is not None:
            state["breaker"] = self.breaker.state
        if self.link is not None:
            state["redis"] = "up" if self.link.up else "away"
        return state

    async def close(self) -> None:
        if self.link is not None:
            await self.link.close()

    def _limited(self, app: ASGIApp, options: Options) -> ASGIApp:
        limits, keys = options.limits, options.access
        own = keys.api_keys_file is not None  # The file may give any key limits of its own, at any time.
        if limits.max_concurrent_requests or limits.max_concurrent_requests_per_key or own:
            from .admission import Admission
            from .turns import Turns

            self.turns = Turns(limits.max_concurrent_requests, limits.queue_length)
            app = Admission(app, self.turns, limits.max_concurrent_requests_per_key, limits.queue_timeout)
        if limits.requests_per_minute or limits.tokens_per_minute or own:
            from .rates import Rates

            app = Rates(app, limits, self._minutes(options))
        return app

    def _minutes(self, options: Options) -> Minutes:
        from .minutes import Minutes

        return Minutes(self._redis(options))

    def _redis(self, options: Options) -> RedisLink | None:
        """The one connection to Redis, made when something first wants it."""
        if self.link is None and options.limits.redis_url is not None:
            from .redis_link import RedisLink

            self.link = RedisLink(options.limits.redis_url.get_secret_value())
        return self.link

    def _guarded(self, app: ASGIApp, options: Options) -> ASGIApp:
        access = options.access
        if access.api_keys is not None or access.api_keys_file is not None:
            from .access import KeyCheck
            from .keys import KeyRing

            app = KeyCheck(app, KeyRing(access), ["/metrics", "/metrics.json"] if access.metrics_open else [])
        if access.cors_origins:
            from .access import cors

            app = cors(app, access.cors_origins)
        if access.security_headers:
            from .access import CarefulHeaders

            app = CarefulHeaders(app)
        return app
