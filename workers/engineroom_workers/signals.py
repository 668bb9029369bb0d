"""How a door hears that it is to shut: the first signal drains, the second hurries."""

from __future__ import annotations

import asyncio
import signal
from typing import Any


def stop_signals() -> tuple[asyncio.Future[None], asyncio.Future[None]]:
    """Two futures of the running loop: done at the first SIGTERM or SIGINT, and at the second."""
    loop = asyncio.get_running_loop()
    futures: tuple[asyncio.Future[None], asyncio.Future[None]] = (loop.create_future(), loop.create_future())

    def received() -> None:
        waiting = next((future for future in futures if not future.done()), None)
        if waiting is not None:
            waiting.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    return futures


async def either(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one of them is done, at most `timeout` seconds; none is cancelled."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
