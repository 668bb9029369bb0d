"""Clients that leave: noticed while something else is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from .types import Receive

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client closed its connection; nobody waits for a response any more."""


async def disconnected(receive: Receive) -> None:
    """Return once the client has closed its connection. Only after its request was read; cancel it freely."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def race(work: Awaitable[T], receive: Receive, timeout: float | None = None) -> T:
    """The result of `work`, unless the client leaves or the time is up before.

    `work` is cancelled then, and has ended when this returns; `asyncio.shield` what belongs to somebody else.

    Args:
        timeout: seconds; None for no limit.

    Raises:
        ClientDisconnected: the client left first.
        asyncio.TimeoutError: the time was up first.
        Exception: whatever `work` raises.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        if leaving.done():
            raise ClientDisconnected
        raise asyncio.TimeoutError
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
