"""`engineroom serve` for a model that somebody wants to chat with: a child, which ends with the chat."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engineroom.errors import EngineroomError
from engineroom.process import Process
from engineroom.settings import Environment

from ..targets.address import parse
from ..targets.connection import open_session
from ..targets.target import RemoteTarget
from ..terminal_text import one_line

_SERVE = "from engineroom.cli import main; main()"
_GRACE_S = 5
_LOOK_S = 0.25


class ServeFailed(EngineroomError):
    """The server ended before it was ready, or while it was chatted with. The text has its last lines.

    Attributes:
        code: its exit code, 2 for a setting that is wrong.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class OwnServer:
    """A running `engineroom serve`, of which only this process knows the key.

    target: how to reach it.
    """

    def __init__(self, process: Process, target: RemoteTarget) -> None:
        self._process = process
        self.target = target

    @property
    def last_line(self) -> str:
        """What it logged last, without the time."""
        lines = self._process.last_lines(None)
        return one_line(lines[-1].partition(" ")[2]) if lines else ""

    async def ready(self) -> None:
        """Wait until it serves, however long its model takes to load.

        Raises:
            ServeFailed: it ended.
        """
        async with open_session(self.target, silence_s=10) as session:
            while True:
                self.check()
                try:
                    async with session.get(f"{self.target.address.url}/ping") as response:
                        if response.status == 200:
                            return
                except (OSError, asyncio.TimeoutError):
                    pass
                await asyncio.sleep(_LOOK_S)

    def check(self) -> None:
        """Raises ServeFailed where it has ended."""
        code = self._process.returncode
        if code is not None:
            raise ServeFailed(_last_words(self._process.last_lines(None), code), code)


@asynccontextmanager
async def own_server(model: str, engine: str, env: Environment) -> AsyncIterator[OwnServer]:
    """Start `engineroom serve` for a model, and end it when the block is left; the reaper ends it if we are killed.

    Args:
        model: as `engineroom serve` takes it.
        engine: the engine's name; empty for whichever can serve the model.
    """
    port = _free_port()
    key = secrets.token_urlsafe(16)
    command = [sys.executable, "-c", _SERVE, "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--engine", engine] if engine else []
    environ = {**os.environ, "API_KEYS": f"chat:{key}", "PAGE": "false", "LOG_FORMAT": "text", "NO_COLOR": "1"}
    environ["LAME_DUCK"] = "0"  # Nobody else sends it requests.
    process = await Process.spawn([*command, "--", model], name="chat", environ=environ, grace=_GRACE_S, log=False)
    scheme = "https" if env.get("UVICORN_SSL_CERTFILE") else "http"
    target = RemoteTarget(parse(f"{scheme}://127.0.0.1:{port}"), "a server of this chat's own", key, "this chat")
    try:
        yield OwnServer(process, target)
    finally:
        await process.stop()


def _last_words(lines: list[str], code: int) -> str:
    """Why it ended: its error, or else its last lines."""
    begins = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if begins:
        return "\n".join(lines[begins[-1] :]).removeprefix("error: ")
    shown = "\n".join(f"  | {line}" for line in lines[-10:])
    return f"engineroom serve ended with code {code}" + (f"; the last lines of its output:\n{shown}" if lines else "")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
