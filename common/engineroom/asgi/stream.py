"""Streams inside this process: a bounded buffer between whoever produces one and whoever reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class StreamSource(Protocol[T_co]):
    """Where the pieces of a stream pile up until they are asked for."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come; what is here can still be drained."""

    async def wait(self) -> bool:
        """Wait until there is something to drain; False once all has been drained and nothing more will come."""

    def drain(self) -> Sequence[T_co]:
        """All that is here, without waiting."""


class StreamBuffer(Generic[T]):
    """What has been produced of a stream and is not read yet, in one event loop.

    Without bound it would fill the memory wherever a client reads slowly. There may be several producers: each calls
    `put`, and awaits `space` where the buffer is full. There is one reader: it awaits `wait`, then takes one item
    (`pop`) or all that are here (`drain`).

    Args:
        limit: how large the buffer may get before `space` waits.
        size: what an item counts towards the limit; by default each counts as one.
    """

    def __init__(self, limit: int, size: Callable[[T], int] | None = None) -> None:
        self.ended = False
        """Whether nothing more will come; there may still be items to read."""
        self.error: Exception | None = None
        """Why the stream broke off, or None."""
        self._limit = limit
        self._size_of = size
        self._items: deque[T] = deque()
        self._size = 0
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()

    def put(self, items: Sequence[T]) -> bool:
        """Add items; whether the buffer is full now, so that the producer must await `space`.

        After `close` they are dropped, because the reader has been promised an end.
        """
        if self.ended:
            return False
        self._items.extend(items)
        if self._size_of is None:
            self._size = len(self._items)
        else:
            self._size += sum(map(self._size_of, items))
        if self._reader is not None:
            self._wake_reader()
        return self._size >= self._limit

    async def space(self) -> None:
        """Wait while the buffer is full; a closed one never is."""
        while self._size >= self._limit and not self.ended:
            self._room.clear()
            await self._room.wait()

    def close(self, error: Exception | None = None) -> None:
        """End the stream, or break it off with an error. Of several errors the first counts."""
        self.ended = True
        self.error = self.error or error
        self._room.set()
        self._wake_reader()

    async def wait(self) -> bool:
        """Wait until there is something to read; False once all has been read and nothing more will come.

        Raises:
            Exception: what the stream broke off with, once all before that has been read.
        """
        while not self._items:
            if self.error is not None:
                raise self.error
            if self.ended:
                return False
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return True

    def pop(self) -> T:
        """The oldest item; there must be one."""
        item = self._items.popleft()
        self._size -= 1 if self._size_of is None else self._size_of(item)
        self._room.set()
        return item

    def drain(self) -> list[T]:
        """All items that are here, without waiting."""
        items = list(self._items)
        self._items.clear()
        self._size = 0
        self._room.set()
        return items

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Pump(StreamBuffer[T]):
    """An iterator as a buffer: a task reads at most `ahead` pieces ahead. `await aclose()` closes the iterator.

    `wait` raises what the iterator raised, after its last piece has been read.
    """

    def __init__(self, iterator: AsyncIterator[T], ahead: int = 4096) -> None:
        super().__init__(ahead)
        self._task = asyncio.ensure_future(self._run(iterator))

    async def aclose(self) -> None:
        """Stop reading, and close the iterator."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, iterator: AsyncIterator[T]) -> None:
        try:
            async for piece in iterator:
                if self.put((piece,)):
                    await self.space()
        except Exception as error:
            self.close(error)
        except asyncio.CancelledError:
            # We cancelled it, then nobody reads any more; or the iterator did, and silence would pass for its end.
            self.close(RuntimeError("The stream was cancelled by its source."))
            raise
        finally:
            self.close()
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await aclose()
