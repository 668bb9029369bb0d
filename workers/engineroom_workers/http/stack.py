"""The door's layers, each there only where a setting asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .app import build_app
from .middleware.body import Reader

if TYPE_CHECKING:
    from starlette.routing import Route

    from engineroom.asgi import ASGIApp
    from engineroom.breaker import Breaker
    from engineroom.engine import Engine, RunningEngine
    from engineroom.settings import Environment

    from .metrics.registry import Meter
    from .middleware.concurrency import Turns
    from .middleware.rate_limit import Minutes
    from .middleware.tracing import Tracing
    from .options import Options
    from .redis import RedisLink
    from .restarting import RestartingEngine


class Stack:
    """From the socket inwards: metrics and logs, traces, browsers' headers, CORS, keys, the door's own routes; then,
    for the engine's routes, the reading of the request, streams' usage, limits by the minute, the cache, turns, the
    breaker, the engine.

    Make it before any loop runs; `close()` it.

    Args:
        engine: the one to begin with.
        make: gives another in its place, where restarts are allowed.
        env: what the page shows of the settings, and what tells workers apart that share a Redis.

    served: what answers: the engine, or one engine after another.
    app: what the server calls.

    Raises:
        SettingsError: the keys are wrong, or a library that a setting needs is not installed.
    """

    def __init__(self, engine: Engine, make: Callable[[], Engine], options: Options, env: Environment) -> None:
        self.link: RedisLink | None = None
        self.turns: Turns | None = None
        self.breaker: Breaker | None = None
        self._tracing: Tracing | None = None
        self.supervised: RestartingEngine | None = None
        self.served: RunningEngine = engine
        if options.watch.engine_restarts:
            from .restarting import RestartingEngine

            patience = options.limits.queue_timeout
            self.supervised = RestartingEngine(engine, make, options.watch.engine_restarts, patience)
            self.served = self.supervised
        inner = self.served.app
        if options.watch.breaker_failures:
            from engineroom.breaker import Breaker

            from .middleware.circuit_breaker import Tripping

            self.breaker = Breaker(options.watch.breaker_failures, options.watch.breaker_rest)
            inner = Tripping(inner, self.breaker)
        inner = self._limited(inner, options, env)
        meter = self._meter(options)
        if meter is not None:
            from .middleware.usage import StreamUsage

            inner = StreamUsage(inner)
        inner = Reader(inner, options.worker.max_body, options.http.body_timeout)
        shown = meter if options.observe.metrics else None
        self.app: ASGIApp = build_app(self.served, inner, shown, self.state, self._page(options, env))
        self.app = self._guarded(self.app, options)
        if options.observe.otel_exporter_otlp_endpoint is not None:
            from .middleware.tracing import Tracing, provider

            self._tracing = Tracing(self.app, provider(options.observe.otel_exporter_otlp_endpoint))
            self.app = self._tracing
        if meter is not None:
            self.app = self._observed(self.app, meter, options)

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
        if self._tracing is not None:
            await self._tracing.close()

    def _meter(self, options: Options) -> Meter | None:
        """What measures; also where only a log or the tokens' limit wants to know an answer's tokens."""
        limits, keys = options.limits, options.access
        if not (
            options.observe.metrics or options.observe.access_log or limits.tokens_per_minute or keys.api_keys_file
        ):
            return None
        from .metrics.registry import Meter

        meter = Meter()
        meter.gauge("engine_ready", "1 when the next request will be served.", lambda: self.served.health().ready)
        if (supervised := self.supervised) is not None:
            meter.gauge("engine_restarts", "Engines started in place of dead ones.", lambda: supervised.restarted)
        if (turns := self.turns) is not None:
            meter.gauge("requests_waiting", "Requests that wait for their turn.", lambda: turns.waiting)
        if (breaker := self.breaker) is not None:
            meter.gauge("breaker_open", "1 while requests are refused at once.", lambda: breaker.state == "open")
        if (link := self.link) is not None:
            meter.gauge("redis_up", "1 unless Redis is away.", lambda: link.up)
        return meter

    def _page(self, options: Options, env: Environment) -> list[Route]:
        if not options.observe.page:
            return []
        from .page import page_routes

        return page_routes(env)

    def _observed(self, app: ASGIApp, meter: Meter, options: Options) -> ASGIApp:
        from .middleware.metrics import Observed

        log = None
        if options.observe.access_log:
            from .middleware.access_log import AccessLog

            log = AccessLog(options.observe.log_content)
        return Observed(app, self.served, meter, log)

    def _limited(self, app: ASGIApp, options: Options, env: Environment) -> ASGIApp:
        limits, keys = options.limits, options.access
        own = keys.api_keys_file is not None  # The file may give any key limits of its own, at any time.
        if limits.max_concurrent_requests or limits.max_concurrent_requests_per_key or own:
            from .middleware.concurrency import Admission, Turns

            self.turns = Turns(limits.max_concurrent_requests, limits.queue_length)
            app = Admission(app, self.turns, limits.max_concurrent_requests_per_key, limits.queue_timeout)
        if options.cache.cache_ttl:
            app = self._cached(app, options, env)
        if limits.requests_per_minute or limits.tokens_per_minute or own:
            from .middleware.rate_limit import Rates

            app = Rates(app, limits, self._minutes(options))
        return app

    def _cached(self, app: ASGIApp, options: Options, env: Environment) -> ASGIApp:
        from .middleware.cache.middleware import Cached
        from .middleware.cache.store import MemoryStore, RedisStore, Store, setup

        limit, link = int(options.cache.cache_max_mb * 1_000_000), self._redis(options)
        store: Store = MemoryStore(limit)
        if link is not None:
            store = RedisStore(link, setup(env))
        return Cached(app, store, options.cache.cache_ttl, limit // 8)

    def _minutes(self, options: Options) -> Minutes:
        from .middleware.rate_limit import Minutes

        return Minutes(self._redis(options))

    def _redis(self, options: Options) -> RedisLink | None:
        """The one connection to Redis, made when something first wants it."""
        if self.link is None and options.limits.redis_url is not None:
            from .redis import RedisLink

            self.link = RedisLink(options.limits.redis_url.get_secret_value())
        return self.link

    def _guarded(self, app: ASGIApp, options: Options) -> ASGIApp:
        access = options.access
        if access.api_keys is not None or access.api_keys_file is not None:
            from .middleware.access import KeyCheck
            from .middleware.api_keys import KeyRing

            free = ["/metrics", "/metrics.json"] if access.metrics_open else []
            app = KeyCheck(app, KeyRing(access), [*free, "/"] if options.observe.page else free)
        if access.cors_origins:
            from .middleware.access import cors

            app = cors(app, access.cors_origins)
        if access.security_headers:
            from .middleware.access import CarefulHeaders

            app = CarefulHeaders(app)
        return app
