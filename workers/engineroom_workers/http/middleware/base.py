"""What a layer of the door is, what all layers share, and how they answer with errors and add headers."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from engineroom.asgi import ASGIApp, ClientDisconnected, Headers, Message, Receive, Scope, Send, at_head
from engineroom.errors import APIError, drop_tracebacks
from engineroom.openai.errors import error_response

from ..lifecycle import DoorLifecycle

if TYPE_CHECKING:
    from engineroom.engine import RunningEngine
    from engineroom.plugins import EngineChoice

    from ..metrics.registry import MetricsRegistry
    from ..options import Options
    from ..redis import RedisLink
    from ..watched_files import WatchedFiles

logger = logging.getLogger(__name__)

OPEN = frozenset({"/ping", "/health", "/livez", "/readyz", "/startupz"})
"""Routes of the door that everybody may ask, whatever is switched on: a platform's health checks have no key."""
PAGE_FILES = (
    "api.js",
    "chat.js",
    "figures.js",
    "markdown.js",
    "models.js",
    "page.css",
    "page.js",
    "vendor/marked-18.2.1.js",
    "vendor/purify-3.4.18.js",
)
"""What the page at `/` loads, in the folder `page_files`; served under `/page/` by their last names."""
PAGE = frozenset({"/", "/dashboard", *(f"/page/{file.rpartition('/')[2]}" for file in PAGE_FILES)})
"""The page's routes that everybody may ask: there is nothing secret in them."""
OWN = OPEN | PAGE | {"/metrics", "/metrics.json", "/settings.json", "/drain"}
"""Routes that the door answers itself; it neither counts nor limits nor caches them."""


class Gauge(NamedTuple):
    """A figure for `/metrics`, read when somebody looks; its name there begins with `engineroom_`."""

    name: str
    description: str
    value: Callable[[], float]


class Middleware(ABC):
    """One layer of the door, around all layers within it.

    A subclass implements `serve`, which the requests for the engine reach; the door's own routes pass it by. A layer
    that is about those too overrides `__call__`.

    An optional library is imported in `__init__`, so that a layer that is switched off costs nothing.

    Args:
        app: the next layer inwards.
        resources: what it shares with other layers.

    Raises:
        SettingsError: a setting of this layer is wrong, or a library that it needs is not installed.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        self.app = app

    @classmethod
    def wanted(cls, options: Options) -> bool:
        """Whether the settings switch it on."""
        return True

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request. No coroutine of its own: whenever a request wakes, it goes through all that it is in."""
        if scope["type"] != "http" or scope["path"] in OWN:
            return self.app(scope, receive, send)
        return self.serve(scope, receive, send)

    @abstractmethod
    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request for the engine: pass it on to `self.app`, or respond."""

    def state(self) -> dict[str, Any]:
        """What `/health` shows of it."""
        return {}

    def gauges(self) -> Sequence[Gauge]:
        """What `/metrics` shows of it."""
        return ()

    async def close(self) -> None:  # noqa: B027 - most layers hold nothing
        """Give up what it holds, at the door's end."""


class Resources:
    """What the door's layers share. Each thing is made when a layer first asks for it.

    choices: the engine's class, which knows its settings, and what it is configured from; of several models each one's.
        `engine` may be what starts one after another.
    layers: those that are switched on, outermost first; the stack fills it in.
    lifecycle: whether the engine has started, and whether the door drains; whoever runs the door says so.
    watched: the files that layers read again when they change; whoever runs the door watches them.
    """

    def __init__(self, options: Options, choices: Sequence[EngineChoice], engine: RunningEngine) -> None:
        self.options = options
        self.choices = choices
        self.engine = engine
        self.lifecycle = DoorLifecycle(options.lame_duck)
        self.layers: list[Middleware] = []
        self.watched: list[WatchedFiles] = []

    @functools.cached_property
    def redis(self) -> RedisLink | None:
        """The one connection to Redis; None where REDIS_URL is not set.

        Raises:
            SettingsError: the URL is wrong, or the client library is not installed.
        """
        url = self.options.limits.redis_url
        if url is None:
            return None
        from ..redis import RedisLink

        return RedisLink(url.get_secret_value())

    @functools.cached_property
    def metrics(self) -> MetricsRegistry:
        """What the door measures."""
        from ..metrics.registry import MetricsRegistry

        return MetricsRegistry()

    def state(self) -> dict[str, Any]:
        """What `/health` shows of all layers and of Redis."""
        state: dict[str, Any] = {}
        if self.lifecycle.draining:
            state |= {"ready": False, "reason": self.lifecycle.reason}
        for layer in self.layers:
            state |= layer.state()
        link = self._used_redis()
        if link is not None:
            state["redis"] = "up" if link.up else "away"
        return state

    def gauges(self) -> list[Gauge]:
        """What `/metrics` shows of all layers and of Redis."""
        gauges = [gauge for layer in self.layers for gauge in layer.gauges()]
        link = self._used_redis()
        if link is not None:
            gauges.append(Gauge("redis_up", "1 unless Redis is away.", lambda: link.up))
        return gauges

    async def close(self) -> None:
        """Close all layers and the connection to Redis."""
        for layer in self.layers:
            await layer.close()
        link = self._used_redis()
        if link is not None:
            await link.close()

    def _used_redis(self) -> RedisLink | None:
        """The connection to Redis, if a layer has asked for it."""
        return self.__dict__.get("redis")


class ErrorMiddleware(Middleware):
    """Base of layers that may refuse: an APIError that `serve` raises before the response starts becomes the response.

    When `serve` raises ClientDisconnected, nobody waits for a response, and there is none.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnected as error:
            drop_tracebacks(error)
        except APIError as error:
            drop_tracebacks(error)
            await error_response(send, scope, error)
        except Exception as error:
            # A mistake of ours, or of a service behind us. Where the response has begun the server breaks it off.
            logger.exception("%s %s failed", scope["method"], scope["path"])
            drop_tracebacks(error)
            failed = APIError("The server had an error while processing your request.", status=500)
            await error_response(send, scope, failed)


def with_headers(send: Send, headers: Iterable[tuple[bytes, bytes]]) -> Send:
    """`send`, its response starting with more headers. `headers` is read when the response starts."""

    def send_head(message: Message) -> Awaitable[None]:
        more: Headers = list(headers)
        return send({**message, "headers": [*message.get("headers", ()), *more]})

    return at_head(send, send_head)
