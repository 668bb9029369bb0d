"""The end of a server: `should_exit`, which uvicorn's servers have as a flag, as something that can be waited for."""

from __future__ import annotations

import asyncio


class Exiting:
    """Gives a server `should_exit`. Setting it wakes whoever waits for `exit_asked`; it stays set."""

    def __init__(self) -> None:
        self.exit_asked = asyncio.Event()

    @property
    def should_exit(self) -> bool:
        """Set it, and no more connections are taken; `serve` returns once no request runs."""
        return self.exit_asked.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self.exit_asked.set()
