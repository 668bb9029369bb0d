"""How a stream is cut into items when sending an item costs a round trip: drain by default, BatchSize on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from .pacing import Pace

from ..asgi.stream import StreamBuffer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Growing batches: `minimum` tokens first, so that the first come soon, each next `growth` times larger.

    With a growth of 1, or a minimum that is not below the maximum, every batch has `maximum` tokens.
    """

    maximum: int = 50
    minimum: int = 1
    growth: float = 3

    def sizes(self) -> Iterator[int]:
        """The sizes of a stream's batches, without end: 1, 3, 9, 27, 50, 50, …"""
        size = float(self.minimum if self.growth > 1 else self.maximum)
        while True:
            yield int(min(size, self.maximum))
            size = min(size * self.growth, self.maximum)


class Source(Protocol[T_co]):
    """Where pieces of a stream pile up until they are asked for; `engineroom.asgi.client.Response` is one."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come; what is here can still be drained."""

    async def wait(self) -> bool:
        """Wait until there is something to drain; False once all has been drained and nothing more will come."""

    def drain(self) -> Sequence[T_co]:
        """All that is here, without waiting."""


class Pump(Generic[T]):
    """An iterator as a `Source`: a task reads at most `ahead` pieces ahead. `await close()` closes the iterator."""

    def __init__(self, iterator: AsyncIterator[T], ahead: int = 4096) -> None:
        self._pieces: StreamBuffer[T] = StreamBuffer(ahead)
        self._task = asyncio.ensure_future(self._run(iterator))

    @property
    def ended(self) -> bool:
        return self._pieces.closed

    async def _run(self, iterator: AsyncIterator[T]) -> None:
        try:
            async for piece in iterator:
                self._pieces.put((piece,))
                await self._pieces.space()
        except Exception as error:
            self._pieces.close(error)
        except asyncio.CancelledError:
            # We cancelled it, then nobody reads any more; or the iterator did, and silence would pass for its end.
            self._pieces.close(RuntimeError("The stream was cancelled by its source."))
            raise
        finally:
            self._pieces.close()
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await aclose()

    async def wait(self) -> bool:
        """Raises what the iterator raised, after its last piece has been drained."""
        return await self._pieces.wait()

    def drain(self) -> list[T]:
        return self._pieces.drain()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def drained(source: Source[T], pace: Pace) -> AsyncGenerator[Sequence[T], None]:
    """All that has piled up since the last batch was taken, at once where the reader is faster than the stream."""
    with pace.stream() as turn:
        while await source.wait():
            if not source.ended:
                await turn.wait()
            turn.taken()
            yield source.drain()


async def batched(source: Source[T], size: BatchSize, tokens: Callable[[T], int]) -> AsyncGenerator[Sequence[T], None]:
    """Batches of `size`; the last one is as small as it happens to be.

    tokens: how many tokens a piece stands for.
    """
    sizes = size.sizes()
    wanted, held, count = next(sizes), list[T](), 0
    while await source.wait():
        for piece in source.drain():
            held.append(piece)
            count += tokens(piece)
            if count >= wanted:
                yield held
                wanted, held, count = next(sizes), [], 0
    if held:
        yield held
