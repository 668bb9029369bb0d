"""The main process's server where there are several door processes: it starts them, and watches over them."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from engineroom.errors import EngineroomError

from ...signals import either
from ..exiting import Exiting
from .door_process import DoorPlan
from .memory import held_by_all, shared_file
from .requests import PassedRequests

if TYPE_CHECKING:
    from engineroom.asgi import ASGIApp

    from ..options import Options
    from ..protocol import RequestMemory
    from ..watched_files import WatchedFiles

logger = logging.getLogger(__name__)

_BACKLOG = 4096
_PAUSE_S = 1
_YOUNG_S = 10
_MAX_YOUNG_DEATHS = 5
"""A door process that ends within ten seconds of its start, five times in a row, is not started again."""
_END_S = 2
"""How long door processes have to end their connections once no request runs."""


class DoorProcessError(EngineroomError):
    """A door process ends again and again as soon as it is started."""


class YoungDeaths:
    """How many processes, one in the other's place, have ended young, up to the last one.

    count: that many.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, life_s: float) -> None:
        """One more has ended, so many seconds after its start."""
        self.count = self.count + 1 if life_s < _YOUNG_S else 0

    @property
    def too_many(self) -> bool:
        """Whether none is to be started any more."""
        return self.count >= _MAX_YOUNG_DEATHS


class DoorProcesses(Exiting):
    """Door processes that share the sockets, in place of a `Server` in this process.

    Args:
        app: the outermost layer, which serves what they pass on.
        memory: told where they say how much of the memory for requests that do not run yet they hold.

    watched: no files; each door process looks after its certificates.
    """

    def __init__(self, app: ASGIApp, options: Options, memory: RequestMemory) -> None:
        super().__init__()
        self._forced_exit = asyncio.Event()
        self.watched: list[WatchedFiles] = []
        self._options = options
        self._memory = memory
        self._requests = PassedRequests(app)
        self._processes: list[asyncio.subprocess.Process] = []
        self._draining = False

    @property
    def running(self) -> Set[asyncio.Task[None]]:
        """The tasks of the requests that run."""
        return self._requests.running

    @property
    def force_exit(self) -> bool:
        """Set it, and `serve` returns at once."""
        return self._forced_exit.is_set()

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        if value:
            self._forced_exit.set()

    async def serve(self, sockets: Sequence[socket]) -> None:
        """Serve until `should_exit`.

        Raises:
            DoorProcessError: a door process does not stay.
        """
        folder = Path(tempfile.mkdtemp(prefix="engineroom-door-"))
        count = self._options.http.door_processes
        memory = shared_file(count)
        descriptors = tuple(each.fileno() for each in sockets)
        plans = [DoorPlan(self._options, folder, descriptors, memory, slot) for slot in range(count)]
        keeping: list[asyncio.Future[None]] = []
        server = None
        self._memory.held_elsewhere = partial(held_by_all, memory)
        try:
            server = await asyncio.start_unix_server(self._requests.serve, plans[0].main_socket, backlog=_BACKLOG)
            keeping = [asyncio.ensure_future(self._keep(plan)) for plan in plans]
            await self._until_exit(keeping)
            self._stop_listening(sockets)
            await self._until_idle(keeping)
        finally:
            self._draining = True
            for process in self._processes:
                with suppress(ProcessLookupError):
                    process.kill()
            await asyncio.gather(*keeping, return_exceptions=True)
            if server is not None:
                server.close()
            self._memory.held_elsewhere = None
            os.close(memory)
            shutil.rmtree(folder, ignore_errors=True)

    async def _until_exit(self, keeping: Sequence[asyncio.Future[None]]) -> None:
        asked = asyncio.ensure_future(self.exit_asked.wait())
        try:
            await either(asked, *keeping)
        finally:
            asked.cancel()
        for one in keeping:
            if one.done():
                one.result()

    def _stop_listening(self, sockets: Sequence[socket]) -> None:
        self._draining = True
        for process in self._processes:
            if process.stdin is not None:
                with suppress(OSError, RuntimeError):
                    process.stdin.write(b"x")
        # As long as one process has them open, the kernel takes connections that nobody serves.
        for each in sockets:
            each.close()

    async def _until_idle(self, keeping: Sequence[asyncio.Future[None]]) -> None:
        forced = asyncio.ensure_future(self._forced_exit.wait())
        try:
            while self._requests.running and not self.force_exit:
                ended = asyncio.ensure_future(asyncio.wait(set(self._requests.running)))
                await either(ended, forced)
                ended.cancel()
        finally:
            forced.cancel()
        if not self.force_exit:
            await asyncio.wait(keeping, timeout=_END_S)

    async def _keep(self, plan: DoorPlan) -> None:
        """Start a door process, and another whenever it ends."""
        deaths = YoungDeaths()
        while not self._draining:
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "engineroom_workers.http.processes",
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(*plan.sockets, plan.memory),
                start_new_session=True,
            )
            assert process.stdin is not None
            with suppress(OSError, RuntimeError):  # It has ended already: how, its code says.
                process.stdin.write(plan.to_bytes())
            self._processes.append(process)
            try:
                code = await process.wait()
            finally:
                self._processes.remove(process)
            if self._draining:
                return
            deaths.add(time.monotonic() - began)
            if deaths.too_many:
                raise DoorProcessError(f"a door process ended {deaths.count} times in a row, the last with code {code}")
            logger.error("a door process ended with code %s; starting another in %d s", code, _PAUSE_S)
            await asyncio.sleep(_PAUSE_S)
