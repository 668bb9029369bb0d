"""A server that sends what a test says, byte for byte, and notes what it was sent. It knows no HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

Script = Callable[["Call"], Coroutine[None, None, None]]


class Call:
    """One request that has arrived, and the connection to answer it on."""

    def __init__(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.body = body
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes, step: int = 0) -> None:
        """Send `data`, in pieces of `step` bytes that arrive one by one; at once by default.

        Raises:
            ConnectionResetError: the client has gone. uvloop would raise a RuntimeError of its own.
        """
        for at in range(0, len(data), step or len(data) or 1):
            if self.writer.is_closing():
                raise ConnectionResetError
            self.writer.write(data[at : at + (step or len(data))])
            await self.writer.drain()
            if step:
                await asyncio.sleep(0)

    def reset(self) -> None:
        """End the connection as a program does that dies: with a reset where anything is unread."""
        self.writer.transport.abort()


class ScriptedServer:
    """Runs `script` for each request.

    connections: how many were made so far.
    heads, bodies: of the requests, in their order.
    gone: set once a client has closed a connection.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
                self.heads.append(head)
                self.bodies.append(body)
                await self.script(Call(head, body, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def scripted(
    script: Script, unix: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[ScriptedServer, int]]:
    """A server that runs `script` for each request, and its port."""
    server = ScriptedServer(script)
    if unix is not None:
        listening = await asyncio.start_unix_server(server.serve, unix)
    else:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = 0 if unix is not None else listening.sockets[0].getsockname()[1]
    try:
        yield server, port
    finally:
        listening.close()
