"""Clients that leave: noticed while something else is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, NoReturn, TypeVar

from .types import Receive

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client closed its connection; nobody waits for a response any more."""


class RequestTimeoutError(asyncio.TimeoutError):
    """`race` ran out of time. A class of its own, so that it is not taken for a timeout that the work raised."""


async def disconnected(receive: Receive) -> None:
    """Return once the client has closed its connection. Only after its request was read; cancel it freely."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def race(
    work: Awaitable[T],
    receive: Receive,
    timeout: float | None = None,
    closing: asyncio.Future[NoReturn] | None = None,
) -> T:
    """The result of `work`, unless the client leaves, the time is up or `closing` is done before.

    `work` is cancelled then, and has ended when this returns; `asyncio.shield` what belongs to somebody else.

    Args:
        timeout: seconds; None for no limit.
        closing: a future that all the races of a server share; it fails with the reason when the server closes.

    Raises:
        ClientDisconnected: the client left first.
        RequestTimeoutError: the time was up first.
        Exception: whatever `work` raises, or what `closing` failed with.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnected(receive))
    racing: set[asyncio.Future[Any]] = {working, leaving}
    if closing is not None:
        racing.add(closing)
    try:
        await asyncio.wait(racing, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        if closing is not None and closing.done():
            closing.result()
        if leaving.done():
            raise ClientDisconnected
        raise RequestTimeoutError
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        # What we raise has this frame in its traceback, and the task has what we raise: without a collection neither
        # would ever go, nor the request that the frames hold.
        racing.clear()
        del working, leaving
