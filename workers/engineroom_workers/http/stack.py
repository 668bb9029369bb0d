"""The door's layers, in their order, and the app that they make."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .middleware.access_log import AccessLogMiddleware
from .middleware.api_keys import APIKeyMiddleware
from .middleware.base import Middleware, Resources
from .middleware.body import BodyMiddleware
from .middleware.browsers import CrossOriginMiddleware, SecurityHeadersMiddleware
from .middleware.cache.middleware import CacheMiddleware
from .middleware.circuit_breaker import CircuitBreakerMiddleware
from .middleware.concurrency import ConcurrencyMiddleware
from .middleware.context import RequestContextMiddleware
from .middleware.kept_responses import KeptResponsesMiddleware
from .middleware.metrics import MetricsMiddleware
from .middleware.own_routes import OwnRoutesMiddleware
from .middleware.rate_limit import RateLimitMiddleware
from .middleware.tracing import TracingMiddleware
from .protocol import RequestMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engineroom.asgi import ASGIApp
    from engineroom.engine import RunningEngine
    from engineroom.plugins import Setup

    from .metrics.registry import MetricsRegistry
    from .options import Options
    from .watched_files import WatchedFiles

logger = logging.getLogger(__name__)

LAYERS: tuple[type[Middleware], ...] = (
    RequestContextMiddleware,
    MetricsMiddleware,
    AccessLogMiddleware,
    TracingMiddleware,
    SecurityHeadersMiddleware,
    CrossOriginMiddleware,
    APIKeyMiddleware,
    OwnRoutesMiddleware,  # The door's own routes end here; those of the engine go on.
    BodyMiddleware,
    KeptResponsesMiddleware,
    RateLimitMiddleware,
    CacheMiddleware,
    ConcurrencyMiddleware,
    CircuitBreakerMiddleware,
)
"""From the socket inwards to the engine. Each is there only where a setting asks for it."""


class Stack:
    """The engine and the layers around it.

    Make it before any loop runs; `close()` it.

    Args:
        setup: the engine, and what it and the door are configured from.

    engine: the engine that serves, or what starts one engine after another.
    app: what the server calls.
    memory: for requests that do not run yet.
    lifecycle: whoever runs the door says there what becomes of it.

    Raises:
        SettingsError: the keys are wrong, or a library that a setting needs is not installed.
    """

    def __init__(self, setup: Setup[Options]) -> None:
        options = setup.door
        self.engine = _restarting(setup)
        self._resources = Resources(options, setup.choices, self.engine)
        self.lifecycle = self._resources.lifecycle
        self.memory = RequestMemory(options.request_memory)
        self.app: ASGIApp = self.engine.app
        for layer in reversed(LAYERS):
            if layer.wanted(options):
                middleware = layer(self.app, self._resources)
                self._resources.layers.insert(0, middleware)
                self.app = middleware
        if options.observe.metrics:
            for gauge in self._resources.gauges():
                self._resources.metrics.add_gauge(gauge.name, gauge.description, gauge.value)
            self._resources.metrics.add_gauge(
                "request_memory_bytes", "What counts towards REQUEST_MEMORY_MB now.", self.memory.total
            )

    @property
    def metrics(self) -> MetricsRegistry:
        """What the layers measure."""
        return self._resources.metrics

    @property
    def watched(self) -> Sequence[WatchedFiles]:
        """The files that layers read again when they change."""
        return self._resources.watched

    async def close(self) -> None:
        """Close all layers, and what they share."""
        await self._resources.close()


def _restarting(setup: Setup[Options]) -> RunningEngine:
    """The engine itself, or with ENGINE_RESTARTS one that is started again when it dies; several models see to that
    themselves."""
    options = setup.door
    restarts = options.watch.engine_restarts
    if not restarts:
        return setup.engine
    if setup.has_table:
        logger.info("ENGINE_RESTARTS is of no effect with MODELS: a model is loaded again when it is next asked for")
        return setup.engine
    from .restarting import RestartingEngine

    return RestartingEngine(setup.engine, setup.new_engine, restarts, options.limits.queue_timeout)
