"""uvicorn, run inside our loop: the sockets and the signals are ours, the protocol is its."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from engineroom.errors import Problem, SettingsError

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp

    from .settings import HTTPSettings

_BACKLOG = 2048


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs it."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                log_level="warning",
            )
        )

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(settings: HTTPSettings) -> list[socket.socket]:
    """Open the door's sockets, so that a client that comes while we load waits instead of being refused.

    Raises:
        SettingsError: the address or port cannot be had.
    """
    ports = [("PORT", settings.port)]
    if settings.port_health not in (None, settings.port):
        ports.append(("PORT_HEALTH", settings.port_health or 0))
    sockets: list[socket.socket] = []
    for variable, port in ports:
        try:
            family = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)[0][0]
            opened = socket.create_server((settings.host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            for other in sockets:
                other.close()
            where = f"{settings.host}:{port}"
            raise SettingsError([Problem(variable, f"cannot listen on {where}: {error.strerror or error}")]) from error
        opened.setblocking(False)
        sockets.append(opened)
    return sockets
