"""The signals that stop a door: at the first it drains, at the next it hurries."""

from __future__ import annotations

import asyncio
import signal
from typing import Any


def stop_signals(count: int = 2) -> tuple[asyncio.Future[None], ...]:
    """Futures of the running loop: done at the first SIGTERM or SIGINT, at the second, and so on.

    Args:
        count: how many there are. Signals after that are nothing.
    """
    loop = asyncio.get_running_loop()
    futures: tuple[asyncio.Future[None], ...] = tuple(loop.create_future() for _ in range(count))

    def received() -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)
                return

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    return futures


async def either(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of the futures is done, for at most `timeout` seconds. It cancels none of them."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
