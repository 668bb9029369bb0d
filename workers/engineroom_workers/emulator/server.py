"""An emulator behind a listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from .app import EmulatorApp
from .platform import Emulator
from .webhooks import Webhooks


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: whoever runs the emulator decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a name or address of this machine; port 0 takes a free one.

    Raises:
        OSError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, unlike in `socket.create_server`: asyncio sets TCP_NODELAY only where it knows that it is
    # TCP, and without that every other response waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.asynccontextmanager
async def serving(emulator: Emulator, listener: socket.socket) -> AsyncIterator[str]:
    """Serve the emulator in the running loop; yields its URL, `http://host:port`. Closes the socket at the end."""
    server = _Server(
        uvicorn.Config(
            EmulatorApp(emulator),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    webhooks = Webhooks()
    emulator.on_finished.append(webhooks.finished)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise RuntimeError("the server ended before it had started")
            await asyncio.sleep(0.005)
        host, port = listener.getsockname()[:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        emulator.close()
        server.should_exit = True
        await task
        await webhooks.close()
        listener.close()
