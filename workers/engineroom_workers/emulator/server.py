"""An emulator behind a listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engineroom.asgi import ASGIApp

from .app import EmulatorApp
from .platform import Emulator
from .webhooks import WebhookSender


class _EmulatorServer(uvicorn.Server):
    """uvicorn without its signal handlers: the program that runs the emulator decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _protocol(emulator: Emulator) -> type[HttpToolsProtocol]:
    """How connections behave: those of polls may stay open when the worker closes its half, as an option says."""

    class EmulatorProtocol(HttpToolsProtocol):
        def eof_received(self) -> bool:  # type: ignore[override]
            polls = self.scope is not None and "/job-take" in self.scope["path"]
            return polls and emulator.options.hung_up_poll == "ignore"

    return EmulatorProtocol


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on a name or address of this machine; port 0 takes a free one.

    Raises:
        OSError: the address is taken, or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Unlike `socket.create_server`, this names the protocol: asyncio sets TCP_NODELAY only on sockets that it knows to
    # be TCP, and without that every other response waits 40 ms for an acknowledgement.
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
async def serving(emulator: Emulator, listener: socket.socket, app: ASGIApp | None = None) -> AsyncIterator[str]:
    """Serve the emulator in the running loop, and close it and the socket at the end.

    Args:
        emulator: the endpoint whose jobs' webhooks are called; call its `on_finished` for those of others.
        app: what is served; by default that queue endpoint.

    Yields:
        The emulator's URL, `http://host:port`.
    """
    server = _EmulatorServer(
        uvicorn.Config(
            app or EmulatorApp(emulator),
            http=_protocol(emulator),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    webhooks = WebhookSender()
    emulator.on_finished.append(webhooks.job_finished)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise RuntimeError("the server ended before it had started")
            await asyncio.sleep(0.005)
        yield url_of(listener)
    finally:
        emulator.close()
        server.should_exit = True
        await task
        await webhooks.close()
        listener.close()


def url_of(listener: socket.socket) -> str:
    """The URL of what listens there, `http://host:port`."""
    host, port = listener.getsockname()[:2]
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}"
