"""The signals that stop a door: at the first it drains, at the second it hurries."""

from __future__ import annotations

import asyncio
import signal
from typing import Any


def stop_signals() -> tuple[asyncio.Future[None], asyncio.Future[None]]:
    """Two futures of the running loop: done at the first SIGTERM or SIGINT, and at the second."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()
    second: asyncio.Future[None] = loop.create_future()

    def received() -> None:
        if not first.done():
            first.set_result(None)
        elif not second.done():
            second.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    return first, second


async def either(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of the futures is done, for at most `timeout` seconds. It cancels none of them."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
