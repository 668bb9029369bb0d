"""Connections to a target, and what is said of one that cannot be made."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from engineroom.errors import EngineroomError

from ..terminal_text import one_line
from .target import RemoteTarget

CONNECT_S = 10
SILENCE_S = 900
"""Seconds for which an answer may be silent: a cold start of an endpoint, with a download of its model."""


class TargetError(EngineroomError):
    """A target cannot be reached, or does not do what was asked. The text has the cause and the remedy.

    Attributes:
        status: the HTTP status that it answered with; 0 without one.
        retry_after: seconds after which it asks to be tried again; None where it does not say.
    """

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


def open_session(target: RemoteTarget, silence_s: float = SILENCE_S) -> aiohttp.ClientSession:
    """A session that sends the target's key with every request; it has to be closed.

    Proxies of the environment (HTTPS_PROXY) are used, but not for this machine.
    """
    return aiohttp.ClientSession(
        headers={"User-Agent": "engineroom", **target.headers},
        connector=aiohttp.TCPConnector(ssl=target.verify_tls, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s),
        trust_env=not target.address.on_loopback,
    )


@contextmanager
def explained(target: RemoteTarget) -> Iterator[None]:
    """Raises TargetError in place of aiohttp's errors."""
    try:
        yield
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise TargetError(describe(error, target)) from error


def describe(error: BaseException, target: RemoteTarget) -> str:
    """Why a connection failed, and what to do, for a person."""
    where = target.address.url
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return f"{where}: its certificate is not trusted here ({one_line(str(error))})"
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return f"{where} does not speak TLS as expected; is it http:// instead of https://?"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"{where}: the name {target.address.host} cannot be resolved; check the address and the network"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return f"nothing listens at {where}; is the server running, and is that its port?"
    if isinstance(error, (aiohttp.ServerTimeoutError, asyncio.TimeoutError)):
        return f"{where} does not answer in time"
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError)):
        return f"{where} closed the connection before the answer was complete"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{where} does not speak HTTP as expected ({one_line(error.message)})"
    return f"{where} cannot be reached: {one_line(str(error) or type(error).__name__)}"
