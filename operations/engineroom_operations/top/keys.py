"""Keys while a screen is drawn: `q` ends it, and nothing that is typed appears on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from ..terminal_keys import quiet_keys


@contextlib.contextmanager
def watched_keys(on_quit: Callable[[], object]) -> Iterator[None]:
    """Call `on_quit` at `q`; where standard input is no terminal, nothing is watched."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def read() -> None:
        keys = os.read(descriptor, 64)
        if not keys:
            loop.remove_reader(descriptor)
        if b"q" in keys.lower() or b"\x04" in keys:
            on_quit()

    with quiet_keys():
        loop.add_reader(descriptor, read)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)
