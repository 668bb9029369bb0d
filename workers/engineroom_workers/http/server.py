"""uvicorn, run inside our loop: the sockets and the signals are ours, the protocol is its."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Generator, Set
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import uvicorn

from engineroom.errors import Problem, SettingsError
from engineroom.timeouts import timeout

from .exiting import Exiting
from .protocol import RequestMemory, make_protocol, releasing
from .settings import address_problem
from .tls import Certificates

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp

    from .settings import HTTPSettings
    from .watched_files import WatchedFiles

_BACKLOG = 2048
_TICK_S = 1.0
"""How often the Date of responses is written anew."""
_KERNEL_MAX_SECONDS = 65_000
"""Linux takes at most 32767 for the seconds before the first probe, which are half of these."""


class Server(Exiting, uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs it.

    Args:
        memory: for requests that do not run yet.

    watched: the files that it reads again when they change.

    Raises:
        SettingsError: the TLS files are wrong.
    """

    def __init__(self, app: ASGIApp, settings: HTTPSettings, memory: RequestMemory) -> None:
        config = uvicorn.Config(
            releasing(app),
            http=make_protocol(settings.body_timeout, memory, _own_health_port(settings)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=settings.uvicorn_timeout_keep_alive,
            log_level="warning",
        )
        Exiting.__init__(self)  # uvicorn's sets the flag.
        self.watched: list[WatchedFiles] = []
        if settings.tls is not None:
            certificates = Certificates(settings.tls)
            self.watched.append(certificates.watched)
            config.load()
            config.ssl = certificates.context
        uvicorn.Server.__init__(self, config)

    @property
    def running(self) -> Set[asyncio.Task[None]]:
        """The tasks of the requests that run."""
        return self.server_state.tasks

    async def main_loop(self) -> None:
        """Serve until it should exit. uvicorn's own looks for that ten times a second, and a look on an idle processor
        costs as much as several tokens."""
        while not await self.on_tick(0):
            with suppress(asyncio.TimeoutError):
                async with timeout(_TICK_S):
                    await self.exit_asked.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _own_health_port(settings: HTTPSettings) -> int | None:
    """The second port; None where there is none."""
    return None if settings.port_health == settings.port else settings.port_health


def listen(settings: HTTPSettings) -> list[socket.socket]:
    """Open the door's sockets, so that a client that comes while we load waits instead of being refused.

    Raises:
        SettingsError: the address or port cannot be had.
    """
    ports = [("PORT", settings.port)]
    health_port = _own_health_port(settings)
    if health_port is not None:
        ports.append(("PORT_HEALTH", health_port))
    sockets: list[socket.socket] = []
    for variable, port in ports:
        try:
            family = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)[0][0]
            opened = socket.create_server((settings.host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            for other in sockets:
                other.close()
            raise SettingsError([_cannot_listen(error, settings.host, variable, port)]) from error
        opened.setblocking(False)
        _disconnect_after(opened, settings.client_timeout)
        sockets.append(opened)
    return sockets


def _cannot_listen(error: OSError, host: str, variable: str, port: int) -> Problem:
    """Which setting is at fault, why, and what would do.

    variable: PORT, or the name of the other port.
    """
    # Python adds the address to the system's words; ours have it already.
    reason = (error.strerror or str(error)).partition(" (while attempting")[0]
    wrong_host = address_problem(host, error)
    if wrong_host is not None:
        return wrong_host
    remedies = {
        errno.EADDRINUSE: "; choose another, or 0 for any that is free",
        errno.EACCES: "; ports below 1024 are for root, so choose one from 1024 on",
    }
    hint = remedies.get(error.errno or 0, "")
    return Problem(variable, f"cannot listen on {host}:{port}: {reason}{hint}")


def _disconnect_after(listening: socket.socket, seconds: float) -> None:
    """Let the kernel end connections whose other side takes nothing, or is not there any more, for `seconds`.

    Connections inherit both options from the socket that accepts them. Sent data that stays unacknowledged, also
    because the reader has no room for it, is TCP_USER_TIMEOUT's business (tcp(7)); keep-alive probes find out
    about a client that vanished while there was nothing to send, as during a long prefill.
    """
    if not seconds or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    seconds = min(seconds, _KERNEL_MAX_SECONDS)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 8)))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))
