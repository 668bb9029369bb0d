"""A library that generates tokens, in a process of its own: for one that would stop or take along the worker's."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from ..errors import APIError, EngineStartError
from ..process.child import Process
from ..process.secrets import without_secrets
from ..watchdog import Activity

Explain: TypeAlias = Callable[[Sequence[str], int], str | None]
"""Makes a sentence of the last lines of a process's output and its exit code, negative for a signal; None where they
say nothing."""

_LONGEST_LINE = 1 << 30
"""Bytes of one message, which may have the vectors of many texts."""


class _Ended:
    """Behind a request's last item. reason: why it failed; empty where it did not."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class ModelProcess:
    """A child process that runs a model, and the requests to it as async iterators.

    A library that keeps Python's interpreter lock while it computes would stop the event loop and all that runs there;
    one that ends its process at a damaged file would end the worker's. Here neither does.

    The child connects to the Unix socket that is its last argument. Both ways go JSON objects, one a line:

    * to it: `{"id": 7, …}` is a request in the engine's own words, `{"cancel": 7}` ends it;
    * from it: `{"status": {…}}` once it is ready; then `{"items": [[7, […]], …], "ended": [[7, ""], …], "status": {…}}`
      after each step. An item is what the request's iterator yields; `ended` has why it failed, or nothing. Each of the
      three may be left out.

    status: what it said of itself last. steps: how many messages there were so far.
    """

    def __init__(self, process: Process, explain: Explain) -> None:
        self.status: dict[str, Any] = {}
        self.steps = 0
        self._process = process
        self._explain = explain
        self._items: dict[int, asyncio.Queue[list[Any] | _Ended]] = {}
        self._number = 0
        self._writer: asyncio.StreamWriter | None = None
        self._ready = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        name: str,
        grace: float,
        log: bool,
        explain: Explain,
    ) -> ModelProcess:
        """Start the child, and return once it is ready.

        Args:
            name: the end of its logger's name.
            grace: seconds between SIGTERM and SIGKILL when it is stopped.
            log: whether its output is also logged.
            explain: says why it ended.

        Raises:
            EngineStartError: it has ended, and why.
        """
        folder = tempfile.mkdtemp(prefix=f"engineroom-{name}-")
        address = str(Path(folder, "model.sock"))
        connection: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection.set_result((reader, writer))

        server = await asyncio.start_unix_server(connected, address, limit=_LONGEST_LINE)
        process = await Process.spawn(
            [*command, address],
            name=name,
            environ=without_secrets(os.environ),
            grace=grace,
            remove=[folder],
            log=log,
        )
        own = cls(process, explain)
        try:
            ended: asyncio.Future[Any] = asyncio.ensure_future(process.wait())
            await asyncio.wait({ended, connection}, return_when=asyncio.FIRST_COMPLETED)
            if connection.done():
                reader, own._writer = connection.result()
                own._watch = asyncio.ensure_future(own._receive(reader))
                ready: asyncio.Future[Any] = asyncio.ensure_future(own._ready.wait())
                await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
            if not own._ready.is_set():
                raise EngineStartError(await own.died())
        except BaseException:
            await own.stop()
            raise
        finally:
            ended.cancel()
            server.close()
        return own

    async def ask(self, request: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """The items of one request; close the iterator to cancel it.

        Raises:
            APIError: 500, with the reason for which it failed.
        """
        self._number += 1
        number = self._number
        queue = self._items[number] = asyncio.Queue()
        end: _Ended | None = None
        try:
            self._send({"id": number, **request})
            while end is None:
                received = await queue.get()
                if isinstance(received, _Ended):
                    end = received
                    continue
                for item in received:
                    yield item
            if end.reason:
                raise APIError(f"The generation failed: {end.reason}", status=500)
        finally:
            del self._items[number]
            if end is None:
                self._send({"cancel": number})

    async def died(self) -> str:
        """Wait until it has ended; why."""
        code = await self._process.wait()
        reason = self._explain(self._process.tail, code)
        if code < 0:
            reason = f"its process was ended by {signal.Signals(-code).name}" + (f" ({reason})" if reason else "")
        return reason or f"its process ended with exit code {code}"

    def activity(self) -> Activity | None:
        """What it has done so far, for a watchdog."""
        return self._process.activity()

    def memory(self) -> int | None:
        """Its resident bytes, as far as the system says."""
        return self._process.memory()

    async def stop(self) -> None:
        """End it, with all that it started."""
        if self._watch is not None:
            self._watch.cancel()
        if self._writer is not None:
            self._writer.close()
        await self._process.stop()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._writer is not None
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        decode = msgspec.json.Decoder().decode
        while line := await reader.readline():
            message = decode(line)
            self.steps += 1
            self.status = message.get("status", self.status)
            self._ready.set()
            for number, items in message.get("items", ()):
                if number in self._items:
                    self._items[number].put_nowait(items)
            for number, reason in message.get("ended", ()):
                if number in self._items:
                    self._items[number].put_nowait(_Ended(reason))
