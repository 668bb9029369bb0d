"""The connection to an engine's server: requests of clients, and our own small ones to find out what it is at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..http_client.errors import FAILURES
from ..http_client.origin import Origin
from ..http_client.pool import ConnectionPool
from ..timeouts import timeout
from .address import METRICS_S

if TYPE_CHECKING:
    from ..http_client.response import ServerResponse
    from .address import Address

_PROBE_S = 5.0
_ANSWER_S = 120.0


class Upstream:
    """A server that speaks HTTP. Make it inside a running loop; `close()` it.

    Args:
        pool: the connections to it.
        headers: those of all its requests, for a server of the same engine on another port.
        base: the path that stands before the path of every request.
    """

    def __init__(self, pool: ConnectionPool, headers: Mapping[str, str], base: str = "") -> None:
        self._pool = pool
        self._headers = headers
        self._base = base

    @property
    def origin(self) -> Origin:
        """Where the server is."""
        return self._pool.origin

    @classmethod
    def at(
        cls,
        address: Address,
        headers: Mapping[str, str],
        keep_alive: float,
        *,
        keep_limit: int | None = None,
        idle_timeout: float | None = None,
    ) -> Upstream:
        """The connection to a server on this machine.

        Args:
            headers: sent with each request.
            keep_alive: seconds that an idle connection is kept; 0 for a new one for every request.
            keep_limit: a connection is kept only while no more than so many are open; None for no limit.
            idle_timeout: seconds that it may be silent during a request; None for no limit.
        """
        if address.unix is not None:
            origin = Origin("engine", 80, address.unix)
        else:
            assert address.port is not None
            origin = Origin("127.0.0.1", address.port)
        # The whole request is timed by the gateway; a long prefill sends nothing for minutes.
        pool = ConnectionPool(origin, headers, keep_alive=keep_alive, keep_limit=keep_limit, idle_timeout=idle_timeout)
        return cls(pool, headers)

    async def request(
        self, method: str, target: str, headers: Mapping[bytes, bytes] | None = None, body: bytes = b""
    ) -> ServerResponse:
        """Send a request; see `ConnectionPool.request`. Use the response in an `async with` block."""
        return await self._pool.request(method, self._base + target, headers, body)

    async def fetch(
        self, method: str, target: str, json: Mapping[str, Any] | None = None, seconds: float = _ANSWER_S
    ) -> tuple[ServerResponse, bytes]:
        """A response and its whole body.

        Raises:
            OSError: one of `FAILURES`; it took longer than `seconds`, for one.
        """
        async with timeout(seconds):
            return await _fetch(self._pool, method, self._base + target, json)

    async def answers(self, path: str) -> bool:
        """Whether GET `path` is answered with 200."""
        try:
            response, _ = await self.fetch("GET", path, seconds=_PROBE_S)
        except FAILURES:
            return False
        return response.status == 200

    async def text(self, path: str, seconds: float = METRICS_S) -> str:
        """The text of GET `path`, or of a URL on another port; empty where it is not answered with 200."""
        try:
            if path.startswith("http://"):
                async with timeout(seconds):
                    response, body = await self._fetch_elsewhere(path)
            else:
                response, body = await self.fetch("GET", path, seconds=seconds)
        except FAILURES:
            return ""
        return body.decode("utf-8", "replace") if response.status == 200 else ""

    async def description(self, path: str) -> str:
        """What a server that has just become ready says of itself at GET `path`; empty where it does not.

        It counts as long as the server runs, and the first answer may take a busy machine many seconds.
        """
        return await self.text(path, _ANSWER_S)

    async def ask(self, path: str, json: Mapping[str, Any]) -> Any:
        """The JSON answer to a POST, to find out what a model can do; None where it is not answered with 200."""
        try:
            status, body = await self.post(path, json)
            return msgspec.json.decode(body) if status == 200 else None
        except (*FAILURES, ValueError):
            return None

    async def post(self, path: str, json: Mapping[str, Any]) -> tuple[int, bytes]:
        """The status and the body of the answer to a POST. Raises one of `FAILURES`."""
        response, body = await self.fetch("POST", path, json)
        return response.status, body

    async def is_served(self, path: str, json: Mapping[str, Any]) -> bool:
        """Whether a POST is answered whole, with whatever; a refusal is an answer, too."""
        try:
            await self.post(path, json)
        except FAILURES:
            return False
        return True

    async def close(self) -> None:
        self._pool.close()

    async def _fetch_elsewhere(self, url: str) -> tuple[ServerResponse, bytes]:
        origin = Origin.of_url(url)
        pool = ConnectionPool(origin, self._headers, keep_alive=0)
        try:
            return await _fetch(pool, "GET", "/" + url.split("/", 3)[3], None)
        finally:
            pool.close()


async def _fetch(
    pool: ConnectionPool, method: str, target: str, json: Mapping[str, Any] | None
) -> tuple[ServerResponse, bytes]:
    headers = {} if json is None else {b"content-type": b"application/json"}
    body = b"" if json is None else msgspec.json.encode(json)
    async with await pool.request(method, target, headers, body) as response:
        return response, await response.read()
