"""A server's response, read while it arrives: whole, piece by piece, or relayed without a detour over a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextvars import Context, copy_context
from typing import Any, Protocol

from typing_extensions import Self

Sink = Callable[[bytes, bool], "Awaitable[None] | None"]
"""Takes a piece of a body, and whether it is known to be the last; None where there is nothing to wait for before the
next."""

_HIGH_WATER = 1 << 16
"""Bytes of a body that nobody has taken yet, beyond which no more is read from the server."""


class ResponseSource(Protocol):
    """The connection that a response arrives on."""

    def pause(self) -> None:
        """Read no more for now, so that the server has to wait, too."""

    def resume(self) -> None: ...

    def abort(self) -> None:
        """End the connection, and with it the server's work on the response."""


class RelayableResponse(Protocol):
    """A response as proxies read it: a server's own, or what an engine's adapter makes of one. `ServerResponse` says
    what each of these does."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def content_type(self) -> str: ...

    @property
    def complete(self) -> bool: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    def close(self) -> None: ...

    async def read(self, limit: int | None = None) -> bytes: ...

    async def read_available(self) -> bytes: ...

    def pieces(self) -> AsyncIterator[bytes]: ...

    async def relay(self, sink: Sink) -> None: ...


class ServerResponse:
    """A response whose head has arrived. There is one reader; leaving its `async with` block early ends the connection.

    status: the status code, 200 to 999.
    headers: values by names in lower case; the values of a repeated header are joined by commas.
    """

    def __init__(self, source: ResponseSource, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._source: ResponseSource | None = source
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._context: Context | None = None
        self._suspended: _Suspended | None = None
        self._refusal: Exception | None = None
        """What the sink raised outside of the task that relays."""

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case; empty where the server names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def complete(self) -> bool:
        """Whether all of the body has arrived and been read."""
        return self._ended and self._error is None and not self._pieces

    async def __aenter__(self) -> ServerResponse:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection unless the response is complete; nothing more can be read."""
        source = self._source
        self._source = None
        self._pieces.clear()
        if self._suspended is not None:
            self._suspended.close()
            self._suspended = None
        if source is not None and not self._ended:
            self._ended = True
            source.abort()

    async def read(self, limit: int | None = None) -> bytes:
        """What is left of the body.

        Args:
            limit: bytes after which the rest is left where it is.

        Raises:
            OSError: one of `FAILURES`; the response broke off.
        """
        parts: list[bytes] = []
        size = 0
        while limit is None or size < limit:
            piece = await self.read_available()
            if not piece:
                break
            parts.append(piece)
            size += len(piece)
        return b"".join(parts)[:limit]

    async def read_available(self) -> bytes:
        """All of the body that is here, once there is any; empty at its end.

        Raises:
            OSError: one of `FAILURES`; the response broke off. What had arrived before is given first.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            await self._wait()
        return self._take()

    async def pieces(self) -> AsyncIterator[bytes]:
        """`read_available` until the body's end."""
        while piece := await self.read_available():
            yield piece

    async def relay(self, sink: Sink) -> None:
        """Give the sink the rest of the body, all that arrives together in one piece; returns at the body's end, of
        which the sink may not have known with the last piece.

        The sink is called at the moment of an arrival, in this task's context but outside of any task: most pieces
        cost no switch to this task. Only where the sink has to wait, this task waits with it, and the server with both.

        Raises:
            OSError: one of `FAILURES`; the response broke off.
            Exception: whatever the sink raises.
        """
        self._context = copy_context()
        while True:
            if self._refusal is not None:
                raise self._refusal
            while self._pieces:
                piece = self._take()
                waiting = sink(piece, self.complete)
                if waiting is not None:
                    await waiting
            if self._error is not None:
                raise self._error
            if self._ended:
                return
            self._sink = sink
            try:
                await self._wait()
            finally:
                self._sink = None
            suspended = self._suspended
            if suspended is not None:
                self._suspended = None
                await suspended
                self._resume()

    # The connection's side.

    def feed(self, piece: bytes, last: bool) -> None:
        """Take a piece of the body, which is not empty.

        Args:
            last: whether the body is complete with it; `feed_end` follows then.
        """
        if self._sink is None or self._suspended is not None:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > _HIGH_WATER:
                self._pause()
            self._wake()
        else:
            assert self._context is not None
            self._context.run(self._give, self._sink, piece, last)

    def feed_end(self, error: Exception | None = None) -> None:
        """Nothing more will come: the response is complete, or has broken off with an error."""
        self._ended = True
        self._source = None
        if self._error is None:
            self._error = error
        self._wake()

    def _give(self, sink: Sink, piece: bytes, last: bool) -> None:
        """Call the sink, and go on with what it gives up to where it waits, if it does."""
        try:
            waiting = sink(piece, last)
            if waiting is None:
                return
            steps = waiting.__await__()
            future = next(steps)
        except StopIteration:
            return
        except Exception as error:
            self._refusal = error
            self._sink = None
            self._pause()
        else:
            self._suspended = _Suspended(steps, future)
            self._pause()
        self._wake()

    def _take(self) -> bytes:
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        self._resume()
        return piece

    async def _wait(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _pause(self) -> None:
        if not self._paused and self._source is not None:
            self._paused = True
            self._source.pause()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._source is not None:
                self._source.resume()


class _Suspended:
    """An awaitable that somebody else has begun, up to a future it waits for: whoever awaits this goes on with it."""

    def __init__(self, steps: Generator[Any, Any, None], future: Any) -> None:
        self._steps = steps
        self._future = future

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._future
        except BaseException as error:
            # The task is cancelled: what it waits for has to learn of it.
            try:
                following = self._steps.throw(error)
            except StopIteration:
                return
            yield following
        yield from self._steps

    def close(self) -> None:
        """Nobody goes on with it."""
        self._steps.close()
