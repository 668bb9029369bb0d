"""One server, and how it is doing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from engineroom.breaker import Breaker
from engineroom.engine import Health
from engineroom.errors import APIError
from engineroom.openai.upstream_errors import from_upstream
from engineroom.proxy import Proxy
from engineroom.upstream import Upstream

if TYPE_CHECKING:
    from engineroom.asgi import Scope, Send

logger = logging.getLogger(__name__)

_CHECK = aiohttp.ClientTimeout(total=5)
_CONNECT_S = 10
_FAILURES = 3
_REST_S = 10
_BROKEN = frozenset({502, 504})
_BUSY = frozenset({429, 503})


class TargetError(APIError):
    """An error for which another server may do better."""


class Remote(Upstream):
    """The connection to a server at a URL."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers=headers,
            # The whole request is timed by Front; a long prefill sends nothing for minutes.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )


class Target:
    """A server that requests can go to. Make it inside a running loop; `close()` it.

    name: host and port, for people and metrics; running: requests of ours that are with it; models: what it has, as
    far as it was asked; reason: why it cannot be used, empty if it can.
    """

    def __init__(self, url: str, headers: Mapping[str, str], checked: bool) -> None:
        base = url.rstrip("/").removesuffix("/v1")
        self.name = base.partition("://")[2]
        self.upstream = Remote(base, headers)
        self.breaker = Breaker(_FAILURES, _REST_S)
        self.running = 0
        self.models: tuple[str, ...] = ()
        self.reason = "not checked yet" if checked else ""
        self._proxy = Proxy(self)

    @property
    def usable(self) -> bool:
        return not self.reason and self.breaker.state != "open"

    def has(self, model: str | None) -> bool:
        """Whether it has `model`, as far as is known."""
        return model is None or not self.models or model in self.models

    async def serve(self, scope: Scope, send: Send) -> None:
        """Answer a request with this server's answer.

        Raises:
            TargetError: another server may do better.
            APIError: the server's own error.
        """
        self.running += 1
        try:
            await self._proxy(scope, _nothing, send)
        finally:
            self.running -= 1
        self.breaker.succeeded()

    async def check(self) -> None:
        """Ask for its models, and note whether it can be used."""
        try:
            async with self.upstream.session.get(self.upstream.url + "/v1/models", timeout=_CHECK) as response:
                body = await response.read()
            if response.status == 200:
                self.models = _names(body)
                reason = ""
            else:
                reason = f"GET /v1/models was answered with {response.status}"
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
        except (msgspec.DecodeError, UnicodeDecodeError):
            reason = "GET /v1/models was not answered with a list of models"
        if reason != self.reason:
            logger.log(logging.WARNING if reason else logging.INFO, "%s: %s", self.name, reason or "ready")
        self.reason = reason

    async def close(self) -> None:
        await self.upstream.close()

    # For the proxy.

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        return None

    def health(self) -> Health:
        return Health(live=True, ready=True, reason="ready")

    def normalise_error(self, status: int, body: bytes) -> APIError:
        error = from_upstream(status, body)
        if status in _BROKEN:
            self.breaker.failed()
        if status not in _BROKEN | _BUSY:
            return error
        return TargetError(
            error.message, status=status, type=error.type, param=error.param, code=error.code, retry_after=1
        )

    async def lost(self, error: Exception) -> APIError:
        self.breaker.failed()
        logger.warning("%s: %s", self.name, error or type(error).__name__)
        return TargetError("The server behind this one cannot be reached.", status=502, code="upstream_unreachable")


async def _nothing() -> dict[str, Any]:
    raise AssertionError("the request was read before")


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def _names(body: bytes) -> tuple[str, ...]:
    return tuple(model.id for model in msgspec.json.decode(body, type=_Models).data)
