"""The connection to an engine's server: one aiohttp session, kept alive, on a Unix socket or a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

from .address import METRICS_S

if TYPE_CHECKING:
    from .address import Address

_PROBE = aiohttp.ClientTimeout(total=5)
_TEXT = aiohttp.ClientTimeout(total=METRICS_S)
# asyncio's own TimeoutError is another than Python's before 3.11.
FAILURES = (aiohttp.ClientError, asyncio.TimeoutError, TimeoutError, OSError)
"""What a request raises that is not answered."""
_ANSWER = aiohttp.ClientTimeout(total=120)


class Upstream:
    """A server that speaks HTTP at `address`. Make it inside a running loop; `close()` it."""

    def __init__(
        self, address: Address, headers: Mapping[str, str], keep_alive: float, idle_timeout: float | None = None
    ) -> None:
        connector: aiohttp.BaseConnector
        reuse: dict[str, Any] = {"keepalive_timeout": keep_alive} if keep_alive else {"force_close": True}
        if address.unix is not None:
            connector = aiohttp.UnixConnector(address.unix, limit=0, **reuse)
            self.url = "http://engine"
        else:
            connector = aiohttp.TCPConnector(limit=0, use_dns_cache=False, **reuse)
            self.url = f"http://127.0.0.1:{address.port}"
        self.session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            # The whole request is timed by the gateway; a long prefill sends nothing for minutes.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=idle_timeout),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def answers(self, path: str) -> bool:
        """Whether GET `path` is answered with 200."""
        try:
            async with self.session.get(self.url + path, timeout=_PROBE) as response:
                await response.read()
                return response.status == 200
        except FAILURES:
            return False

    async def text(self, path: str, limit: aiohttp.ClientTimeout = _TEXT) -> str:
        """The text of GET `path`, or of a URL on another port; empty where it is not answered with 200."""
        try:
            url = path if path.startswith("http://") else self.url + path
            async with self.session.get(url, timeout=limit) as response:
                text = await response.text()
                return text if response.status == 200 else ""
        except FAILURES:
            return ""

    async def description(self, path: str) -> str:
        """What a server that has just become ready says of itself at GET `path`; empty where it does not.

        It counts as long as the server runs, and the first answer may take a busy machine many seconds.
        """
        return await self.text(path, _ANSWER)

    async def ask(self, path: str, json: Mapping[str, Any]) -> Any:
        """The JSON answer to a POST, to find out what a model can do; None where it is not answered with 200."""
        try:
            async with self.session.post(self.url + path, json=json, timeout=_ANSWER) as response:
                return await response.json() if response.status == 200 else None
        except (*FAILURES, ValueError):
            return None

    async def post(self, path: str, json: Mapping[str, Any]) -> tuple[int, bytes]:
        """The status and the body of the answer to a POST. Raises one of `FAILURES`."""
        async with self.session.post(self.url + path, json=json, timeout=_ANSWER) as response:
            return response.status, await response.read()

    async def is_served(self, path: str, json: Mapping[str, Any]) -> bool:
        """Whether a POST is answered whole, with whatever; a refusal is an answer, too."""
        try:
            await self.post(path, json)
        except FAILURES:
            return False
        return True

    async def close(self) -> None:
        await self.session.close()
