"""The floor of Python and uvloop: bytes passed on as they come, a connection for a connection, and never looked at.

python bytes_alone.py PORT SOURCE_PORT

No HTTP is parsed, nothing is counted, checked or refused: what a proxy costs beyond this is what it does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Passing(asyncio.Protocol):
    """One side of a pair of connections: what comes here leaves there.

    other: the other side's transport; None while that side is not connected.
    """

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.close()


class FromClient(Passing):
    """A client's side, which opens the other."""

    def __init__(self, source_port: int) -> None:
        super().__init__()
        self._source_port = source_port
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.write(data)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        source, answering = await loop.create_connection(Passing, "127.0.0.1", self._source_port)
        answering.other = self.transport
        self.other = source
        source.writelines(self._early)
        self._early.clear()


async def main(port: int, source_port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: FromClient(source_port), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
