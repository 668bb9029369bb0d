"""A client of HTTP/1.1 for one server: connections that are kept, TLS, Unix sockets, limits of time."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from engineroom.timeouts import timeout

from .connection import Connection, Receiver
from .failure import FailureKind, RequestFailure

CONNECT_S = 10
"""Seconds within which a connection has to stand."""

_MAX_BODY = 64 << 20
_OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS})
"""What a machine says that has no more files, ports or memory for connections: the server is not to blame."""


class WholeResponse(NamedTuple):
    """A whole response. headers: their names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class HTTPClient:
    """Sends requests to one server, each on a connection of its own for its time.

    Args:
        url: the server's; a path in it stands before the path of every request.
        headers: sent with every request.
        tls: how its certificate is checked; the system's way by default.
        socket_path: its Unix socket; the host in the URL is then only a name.
        keep: whether connections are kept for later requests.

    Raises:
        ValueError: the URL is none of HTTP. The text says what is wrong.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        socket_path: str = "",
        keep: bool = True,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is not the URL of an HTTP server, such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self.headers = dict(headers or {})
        self._path = parts.path.rstrip("/")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._socket_path = socket_path
        self._keep = keep
        self._idle: list[Connection] = []
        host = parts.netloc.rpartition("@")[2]
        lines = [f"host: {host}", "user-agent: engineroom", "accept-encoding: identity"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header cannot have a line break in it")
        self._head = "\r\n".join(lines).encode("latin-1", "replace")
        self.connections = 0
        """How many were made so far."""

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The bytes of a request.

        Args:
            path: from the URL's own path on, with a slash before it.
            body: JSON; empty for none.
        """
        head = b"%s %s%s HTTP/1.1\r\n%s\r\n" % (method.encode(), self._path.encode(), path.encode(), self._head)
        if not body:
            return head + b"\r\n"
        return b"%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (head, len(body), body)

    async def exchange(self, request: bytes, receiver: Receiver, timeout_s: float) -> None:
        """Send a request; returns when its response is complete.

        Args:
            request: of `request`.
            timeout_s: seconds within which the response has to be complete.

        Raises:
            RequestFailure: there is no connection, it broke, or the time is over.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            connection = self._kept() or await self._connect(min(CONNECT_S, timeout_s))
            reused = connection.used
            connection.used = True
            timer = loop.call_at(
                deadline, connection.fail, RequestFailure("timeout", f"no whole answer within {timeout_s:g} s")
            )
            try:
                await connection.exchange(request, receiver)
            except RequestFailure as failure:
                # Servers close connections that were idle for a while, maybe at this moment.
                if reused and not connection.answered and failure.kind == "cut off":
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            finally:
                timer.cancel()
            if self._keep and connection.reusable:
                self._idle.append(connection)
            else:
                connection.close()
            return

    async def fetch(self, method: str, path: str, body: bytes = b"", timeout_s: float = 60) -> WholeResponse:
        """A whole response, of any status.

        Raises:
            RequestFailure: as `exchange` does, and for a body that is too large.
        """
        collector = _Collector()
        await self.exchange(self.request(method, path, body), collector, timeout_s)
        return WholeResponse(collector.status, collector.headers, bytes(collector.body))

    async def open(self, connections: int) -> None:
        """Have this many connections at hand, so that the next requests need not wait for theirs.

        Raises:
            RequestFailure: there are none to be had. Those that could be made are kept.
        """
        self._idle = [connection for connection in self._idle if not connection.closed]
        missing = connections - len(self._idle)
        made = await asyncio.gather(*(self._connect(CONNECT_S) for _ in range(missing)), return_exceptions=True)
        self._idle += [one for one in made if isinstance(one, Connection)]
        for one in made:
            if isinstance(one, BaseException):
                raise one

    def close(self) -> None:
        """Close the connections that are kept."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connect(self, timeout_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        name = self._host if self.tls else None
        try:
            if self._socket_path:
                making = loop.create_unix_connection(Connection, self._socket_path, ssl=self.tls, server_hostname=name)
            else:
                making = loop.create_connection(Connection, self._host, self._port, ssl=self.tls, server_hostname=name)
            async with timeout(timeout_s):
                _, connection = await making
        except asyncio.TimeoutError:
            raise RequestFailure("unreachable", f"no connection within {timeout_s:g} s") from None
        except ssl.SSLError as error:
            raise RequestFailure("TLS", str(error.reason or error)) from None
        except socket.gaierror:
            raise RequestFailure("unreachable", f"the name {self._host} cannot be resolved") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            kind: FailureKind = "out of sockets" if error.errno in _OUT_OF_SOCKETS else "unreachable"
            raise RequestFailure(kind, reason) from None
        self.connections += 1
        return connection


class _Collector:
    """A receiver that keeps it all."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers

    def on_body(self, data: bytes, moment: float) -> None:
        self.body += data
        if len(self.body) > _MAX_BODY:
            raise RequestFailure("not the API", f"the response is larger than {_MAX_BODY >> 20} MiB", self.status)
