"""A client that reads a stream for a while and leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")


@asynccontextmanager
async def reading(stream: AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Read a stream for as long as the block lasts, and then leave it; the block gets the first item.

    The reader is cancelled, so that all it read through is closed from the inside out. A stream of OpenAI's client that
    is closed from outside leaves ten generators behind, one in another, which the garbage collector ends in whatever
    test runs then, and sometimes in the wrong order.

    Raises:
        AssertionError: the stream ended without an item.
    """
    loop = asyncio.get_running_loop()
    first: asyncio.Future[Item] = loop.create_future()

    async def read() -> None:
        async for item in stream:
            if not first.done():
                first.set_result(item)

    reader = loop.create_task(read())
    try:
        either: tuple[asyncio.Future[Any], ...] = (reader, first)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            await reader
            raise AssertionError("the stream ended without an item")
        yield await first
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
