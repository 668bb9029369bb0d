"""Connections to one server: kept between requests, and made anew where there is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ..timeouts import timeout
from .connection import ClientConnection
from .errors import ConnectionFailedError, ConnectionLostError, ResponseTimeoutError
from .origin import Origin
from .response import ServerResponse

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

_OTHER_ENDS = frozenset({"HEAD", "CONNECT"})
_MAX_IDLE = 256
"""Idle connections that are kept at most, ready for requests that arrive together."""
_NO_LIMIT = 1 << 30
_NEXT_ADDRESS_S = 0.25
"""Seconds after which a server's next address is tried beside the one that has not answered."""
_ADDRESSES_S = 10
"""Seconds for which a server's addresses are taken to stay."""
_BACKLOG_S = 0.005
"""Seconds between two tries of a Unix socket whose server has not accepted its last connections yet."""


class ConnectionPool:
    """A client of one server. It follows no redirect, keeps no cookie, decodes no body and asks no proxy.

    Make it inside a running loop; `close()` it.

    Args:
        headers: sent with each request.
        keep_alive: seconds that an idle connection is kept; 0 for a new one for every request.
        keep_limit: a connection is kept only while no more than so many are open; None for no limit.
        connect_timeout: seconds within which a connection has to stand, TLS included.
        idle_timeout: seconds that the server may be silent during a request; None for no limit.
        silence: seconds without an acknowledgement by the other machine's kernel after which it counts as gone, also
            while there is nothing to send; None for the system's own.
    """

    def __init__(
        self,
        origin: Origin,
        headers: Mapping[str, str],
        *,
        keep_alive: float,
        keep_limit: int | None = None,
        connect_timeout: float = 30,
        idle_timeout: float | None = None,
        silence: int | None = None,
    ) -> None:
        self.origin = origin
        lines = {"host": origin.authority, "accept": "*/*"}
        lines |= {name.lower(): value for name, value in headers.items()}
        self._headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in lines.items()}
        self._head = _lines(self._headers.items())
        self._keep_alive = keep_alive
        self._keep_limit = _NO_LIMIT if keep_limit is None else keep_limit
        self._max_idle = _MAX_IDLE if keep_alive > 0 else 0
        self._connect_timeout = connect_timeout
        self._silence = silence
        self._make = partial(ClientConnection, self, idle_timeout)
        self._idle: list[ClientConnection] = []
        self._open: set[ClientConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._looking_up: asyncio.Task[Sequence[AddrInfoType]] | None = None
        self._resolve = resolve

    async def request(
        self, method: str, target: str, headers: Mapping[bytes, bytes] | None = None, body: bytes = b""
    ) -> ServerResponse:
        """Send a request and return its response, once its head is here. Use that in an `async with` block.

        A kept connection that the server closed at that moment, without a byte of an answer, is followed by a new one.

        Args:
            target: the path with its query, quoted.
            headers: beside those of all requests, and in place of those; names in lower case.

        Raises:
            OSError: one of `FAILURES`.
            ValueError: a line break in the method, the target or a header; or HEAD or CONNECT, whose responses have
                other ends.
        """
        if method in _OTHER_ENDS:
            raise ValueError(f"this client sends no {method}")
        head = self._request_head(method, target, headers or {}, body)
        connection = self._kept()
        if connection is not None:
            try:
                return await connection.exchange(head, body)
            except ConnectionLostError:
                if connection.answered:
                    raise
        connection = await self._connect()
        return await connection.exchange(head, body)

    def close(self) -> None:
        """Close all connections; responses that are not complete break off."""
        self._max_idle = 0
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in [*self._open]:
            connection.close()
        self._idle.clear()

    # The connections' side.

    def connection_free(self, connection: ClientConnection) -> None:
        if len(self._idle) >= self._max_idle or len(self._open) > self._keep_limit:
            self._open.discard(connection)
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._keep_alive, self._sweep)

    def connection_gone(self, connection: ClientConnection) -> None:
        self._open.discard(connection)

    def _request_head(self, method: str, target: str, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
        line = f"{method} {target} HTTP/1.1\r\n".encode("latin-1")
        count = 2 + len(self._headers) + len(headers)
        if headers.keys() & self._headers.keys():
            own = _lines((name, value) for name, value in self._headers.items() if name not in headers)
            count -= len(headers.keys() & self._headers.keys())
        else:
            own = self._head
        length = b""
        if body or method in ("POST", "PUT", "PATCH"):
            length = b"content-length: %d\r\n" % len(body)
            count += 1
        head = b"".join((line, own, _lines(headers.items()), length, b"\r\n"))
        if head.count(b"\n") != count or head.count(b"\r") != count:
            raise ValueError("a request's head cannot have a line break in its method, target or headers")
        return head

    def _kept(self) -> ClientConnection | None:
        """The connection that was used last, if one is kept: the others may go."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() - self._keep_alive
        kept = []
        for connection in self._idle:
            if connection.closed:
                continue
            if connection.idle_since <= until:
                connection.abort()
            else:
                kept.append(connection)
        self._idle = kept
        self._sweeper = loop.call_at(kept[0].idle_since + self._keep_alive, self._sweep) if kept else None

    async def _connect(self) -> ClientConnection:
        try:
            if self.origin.unix is not None:
                connection = await self._connect_unix(self.origin.unix)
            else:
                async with timeout(self._connect_timeout):
                    connection = await self._connect_tcp()
        except asyncio.TimeoutError:
            raise ResponseTimeoutError(f"no connection within {self._connect_timeout:g} s") from None
        except OSError as error:
            raise ConnectionFailedError(f"no connection: {error}") from error
        self._open.add(connection)
        return connection

    async def _lookup(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """Its addresses: one lookup for all who ask within a while."""
        looking_up = self._looking_up
        if looking_up is None or (looking_up.done() and _failed(looking_up)):
            looking_up = self._looking_up = asyncio.ensure_future(self._resolve(host, port))
            asyncio.get_running_loop().call_later(_ADDRESSES_S, self._forget, looking_up)
        return await asyncio.shield(looking_up)

    def _forget(self, looking_up: asyncio.Task[Sequence[AddrInfoType]]) -> None:
        if self._looking_up is looking_up:
            self._looking_up = None

    async def _connect_unix(self, path: str) -> ClientConnection:
        """Where the server's backlog is full the kernel refuses at once: then again, until the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._connect_timeout
        while (connected := _unix_socket(path)) is None:
            if loop.time() > deadline:
                raise asyncio.TimeoutError
            await asyncio.sleep(_BACKLOG_S)
        _, connection = await loop.create_unix_connection(self._make, sock=connected)
        return connection

    async def _connect_tcp(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        origin = self.origin
        where: dict[str, Any] = {"host": origin.host, "port": origin.port}
        if not _is_number(origin.host):
            from aiohappyeyeballs import start_connection

            # Where one of its addresses swallows what is sent, as IPv6 does in some networks, the next is not kept
            # waiting for it (RFC 8305).
            addresses = await self._lookup(origin.host, origin.port)
            where = {"sock": await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1)}
        name = None if origin.tls is None else origin.host
        transport, connection = await loop.create_connection(self._make, **where, ssl=origin.tls, server_hostname=name)
        if self._silence is not None:
            _watch(transport.get_extra_info("socket"), self._silence)
        return connection


async def resolve(host: str, port: int) -> Sequence[AddrInfoType]:
    """A server's addresses, as `socket.getaddrinfo` gives them. Raises OSError where DNS has none."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _failed(looking_up: asyncio.Task[Sequence[AddrInfoType]]) -> bool:
    return looking_up.cancelled() or looking_up.exception() is not None


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%s: %s\r\n" % header for header in headers])


def _unix_socket(path: str) -> socket.socket | None:
    """A connected Unix socket; None where the server's backlog is full."""
    connecting = socket.socket(socket.AF_UNIX)
    connecting.setblocking(False)
    try:
        connecting.connect(path)
    except BlockingIOError:
        connecting.close()
        return None
    except BaseException:
        connecting.close()
        raise
    return connecting


def _watch(connected: socket.socket, silence: int) -> None:
    """Let the kernel notice that the other machine has vanished, also while nothing is sent."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, silence // 2)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, silence // 6)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * silence)
