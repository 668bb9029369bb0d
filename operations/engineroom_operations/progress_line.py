"""One line that says what is waited for: it turns on a terminal, and is written anew in a log where it changes."""

from __future__ import annotations

import time
import types

from rich.console import Console
from rich.text import Text
from typing_extensions import Self

_BESIDE = 4
"""Columns for what turns, so that the line stays one."""


class ProgressLine:
    """Use it as `with ProgressLine() as progress`, and call `show`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("")
        self._began = time.monotonic()
        self._last = ""

    @property
    def seconds(self) -> float:
        """Since the block was entered."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._status.stop()

    def show(self, text: str) -> None:
        """What goes on now."""
        line = Text(f"{self.seconds:4.0f} s  {' '.join(text.split())}")
        if self._console.is_terminal:
            line.truncate(max(20, self._console.width - _BESIDE), overflow="ellipsis")
            self._status.update(line)
        elif text != self._last:
            self._console.print(line, soft_wrap=True)
        self._last = text
