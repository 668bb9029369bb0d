"""One door process: `python -m engineroom_workers.http.processes`, started by the main process.

Its standard input is a pipe from the main process: first what it needs to know, pickled, then a byte when it is to take
no more connections. When the pipe ends, the main process has ended, and so does this one.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..garbage import collect_rarely
from ..options import Options

if TYPE_CHECKING:
    from ..server import Server

_LENGTH_BYTES = 8


class DoorPlan(NamedTuple):
    """What a door process needs to know.

    folder: where the main process's socket is.
    sockets: descriptors of those that clients connect to.
    memory: the descriptor of the file with the shared memory's slots.
    slot: its own.
    """

    options: Options
    folder: Path
    sockets: tuple[int, ...]
    memory: int
    slot: int

    @property
    def main_socket(self) -> Path:
        return self.folder / "main.sock"

    def to_bytes(self) -> bytes:
        """For the pipe."""
        content = pickle.dumps(self)
        return len(content).to_bytes(_LENGTH_BYTES, "big") + content

    @classmethod
    def read(cls, pipe: BinaryIO) -> DoorPlan:
        """From the pipe, whose other end is the main process."""
        length = int.from_bytes(pipe.read(_LENGTH_BYTES), "big")
        plan = pickle.loads(pipe.read(length))
        assert isinstance(plan, DoorPlan)
        return plan


async def run(plan: DoorPlan, pipe: BinaryIO) -> None:
    """Serve until the main process wants no more connections, and those that are open have ended."""
    from ..server import Server
    from ..watched_files import watch
    from .memory import SharedRequestMemory
    from .passing import PassingApp

    app = PassingApp(plan.main_socket)
    memory = SharedRequestMemory(plan.options.request_memory, plan.memory, plan.slot)
    server = Server(app, plan.options.http, memory)
    sockets = [socket.socket(fileno=number) for number in plan.sockets]
    loop = asyncio.get_running_loop()
    pipe_reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(pipe_reader), pipe)
    listening = asyncio.ensure_future(_follow(pipe_reader, server, plan.folder))
    watching = asyncio.ensure_future(watch(server.watched))
    try:
        await server.serve(sockets=sockets)
    finally:
        for task in (listening, watching):
            task.cancel()
        await asyncio.gather(listening, watching, return_exceptions=True)
        await app.close()


async def _follow(pipe: asyncio.StreamReader, server: Server, folder: Path) -> None:
    """Take no more connections when the main process says so; end when it has ended."""
    if await pipe.read(1):
        server.should_exit = True
        await pipe.read()
    # Nobody is left who could answer, and who cleans up.
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def main() -> None:
    """Read the plan, and serve."""
    from engineroom import logs

    # The terminal sends Ctrl-C to all of its processes; the main one says what becomes of it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    plan = DoorPlan.read(pipe)
    logs.configure(plan.options.worker)
    collect_rarely()

    import uvloop

    uvloop.run(run(plan, pipe))
