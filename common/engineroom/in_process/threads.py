"""Blocking work beside the event loop that nobody has to wait for."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

_LAST_S = 1.0
"""Seconds that other threads have once the main thread has ended, such as one that writes to a log."""


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Like `asyncio.to_thread`, but when it is cancelled, as a start may be, the process can end before `work` has."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="engineroom-work", daemon=True).start()
    return await asyncio.wrap_future(future)


def exit_without(threads: Sequence[threading.Thread]) -> None:
    """End this process with 1 once its main thread has ended, where only these threads keep it from that.

    Python would wait for them, and one that hangs never ends.
    """

    def wait() -> None:
        threading.main_thread().join()
        time.sleep(_LAST_S)
        if any(thread.is_alive() for thread in threads):
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # Python would have done it.
            os._exit(1)

    threading.Thread(target=wait, name="engineroom-exit", daemon=True).start()
