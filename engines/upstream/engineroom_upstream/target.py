"""One server, and how it is doing."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from engineroom.breaker import Breaker
from engineroom.engine import Health
from engineroom.errors import APIError
from engineroom.openai.upstream_errors import from_upstream
from engineroom.proxy import Proxy
from engineroom.upstream import Upstream

from .told import told_in_stream, told_status

if TYPE_CHECKING:
    from engineroom.asgi import Scope, Send

logger = logging.getLogger(__name__)

_CHECK = aiohttp.ClientTimeout(total=5)
_CONNECT_S = 10
_FAILURES = 3
_REST_S = 10
_SILENT_S = 30
"""A server whose machine does not even acknowledge for so long is gone; the kernel asks it. A server that is only
busy may be silent for as long as REQUEST_TIMEOUT."""
_BROKEN = frozenset({502, 504})
_REFUSED = frozenset({401, 403})
ELSEWHERE = frozenset({429, 502, 503, 504})
"""Statuses with which another server may do better: one is busy, broken, cannot be reached, or refuses our key."""


class Remote(Upstream):
    """The connection to a server at a URL."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_watched_socket),
            headers=headers,
            # The whole request is timed by Front; a long prefill sends nothing for minutes.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )


def _watched_socket(found: aiohttp.AddrInfoType) -> socket.socket:
    """A socket on which the kernel notices that the other machine has vanished, also while nothing is sent."""
    family, kind, protocol, *_ = found
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_S // 2)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENT_S // 6)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _SILENT_S)
    return made


class Below(Proxy):
    """A URL is an OpenAI client's `base_url`: routes are below it, without their `/v1`.

    An error that comes with a 200 gets its status back, as long as nothing was sent.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._target = target

    def path(self, scope: Scope) -> str:
        return str(scope["path"]).removeprefix("/v1")

    async def rewrite(self, path: str, body: bytes) -> bytes:
        if (status := told_status(body)) is not None:
            raise self._target.normalise_error(status, body)
        return body

    def look_at_first(self, events: bytes) -> None:
        error = told_in_stream(events)
        if error is not None and (status := told_status(error)) is not None:
            raise self._target.normalise_error(status, error)


class Target:
    """A server that requests can go to. Make it inside a running loop; `close()` it.

    Args:
        url: an OpenAI client's `base_url`; one without any path means its `/v1`.
        headers: what it is to get with each request, such as its key.
        checked: whether it is checked before it is used.
        renamed: names that clients may use -> the name by which it knows the model.

    name: host and port, for people and metrics; running: requests of ours that are with it; models: what it has, as
    far as it was asked; reason: why it cannot be used, empty if it can.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], checked: bool, renamed: Mapping[str, str] | None = None
    ) -> None:
        base = url.rstrip("/") + ("" if urlsplit(url).path.strip("/") else "/v1")
        self.name = base.partition("://")[2].removesuffix("/v1")
        self.upstream = Remote(base, headers)
        self.breaker = Breaker(_FAILURES, _REST_S)
        self.running = 0
        self.models: tuple[str, ...] = ()
        self.reason = "not checked yet" if checked else ""
        self._renamed = renamed or {}
        self._proxy = Below(self)

    @property
    def usable(self) -> bool:
        return not self.reason and self.breaker.state != "open"

    def has(self, model: str | None) -> bool:
        """Whether it has `model`, as far as is known."""
        return model is None or not self.models or model in self.models or self._renamed.get(model) in self.models

    async def serve(self, scope: Scope, send: Send) -> None:
        """Answer a request with this server's answer.

        Raises:
            APIError: the server's own error; with a status in ELSEWHERE where another may do better.
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
            async with self.upstream.session.get(self.upstream.url + "/models", timeout=_CHECK) as response:
                body = await response.read()
            if response.status == 200:
                self.models = _names(body)
                reason = ""
            else:
                reason = f"GET /models was answered with {response.status}"
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
        except (msgspec.DecodeError, UnicodeDecodeError):
            reason = "GET /models was not answered with a list of models"
        if reason != self.reason:
            logger.log(logging.WARNING if reason else logging.INFO, "%s: %s", self.name, reason or "ready")
        self.reason = reason

    async def close(self) -> None:
        await self.upstream.close()

    # For the proxy.

    def prepare(self, path: str, json: dict[str, Any]) -> dict[str, Any] | None:
        name = str(json.get("model"))
        if name in self.models or name not in self._renamed:
            return None
        return {**json, "model": self._renamed[name]}

    def health(self) -> Health:
        return Health(live=True, ready=True, reason="ready")

    def normalise_error(self, status: int, body: bytes) -> APIError:
        error = from_upstream(status, body)
        if status in _BROKEN | _REFUSED:
            self.breaker.failed()
        elif status not in ELSEWHERE:
            self.breaker.succeeded()
        if status in _REFUSED:
            # The client's own key was good, or it would not be here.
            logger.error("%s refuses our key (UPSTREAM_API_KEY): %s", self.name, error.message)
            return APIError("The server behind this one refuses its key.", status=502, code="upstream_refused")
        return error

    async def lost(self, error: Exception) -> APIError:
        self.breaker.failed()
        logger.warning("%s: %s", self.name, error or type(error).__name__)
        return APIError("The server behind this one cannot be reached.", status=502, code="upstream_unreachable")


async def _nothing() -> dict[str, Any]:
    raise AssertionError("the request was read before")


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def _names(body: bytes) -> tuple[str, ...]:
    return tuple(model.id for model in msgspec.json.decode(body, type=_Models).data)
