"""Ending a long poll without losing what it may be about to bring."""

from __future__ import annotations

import contextlib
import socket
from typing import Any


class HangUp:
    """The sockets of one HTTP session, and the means to close our half of them.

    A job that the platform hands out at the moment when we cancel a poll would be gone: it is on its way, and nobody
    reads it. So the poll is not cancelled. Our half of its connection is closed, which tells the other side that
    nobody waits any longer, and whatever it had sent by then is still read.

    `aiohttp.TCPConnector(socket_factory=...)` takes the instance.
    """

    def __init__(self) -> None:
        self.hung_up = False
        self._sockets: list[socket.socket] = []

    def __call__(self, address: tuple[Any, ...]) -> socket.socket:
        if self.hung_up:
            # aiohttp tries a GET once more when its connection closes.
            raise OSError("hung up")
        made = socket.socket(address[0], address[1], address[2])
        made.setblocking(False)
        self._sockets = [*(known for known in self._sockets if known.fileno() >= 0), made]
        return made

    def hang_up(self) -> None:
        """Close our half of every connection, and let none be made."""
        self.hung_up = True
        for made in self._sockets:
            # One that is not connected yet has sent nothing; one that is closed already has nothing to lose.
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_WR)
