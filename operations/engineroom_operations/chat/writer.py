"""An answer on the terminal while it streams: whole blocks stay, the last one is drawn anew as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ..terminal_text import printable
from .answer import Piece
from .markdown import BlockSplitter, DrawnBlock, PlainMarkdown, reasoning_text

_SHORTEST_S = 0.08
"""Between two drawings; longer where drawing takes long, so that it never takes more than a tenth of the time."""


class AnswerWriter:
    """Writes one answer; a context, at whose end all of it stands on the terminal.

    Args:
        status: what to show beside the spinner until the first piece.
    """

    def __init__(self, console: Console, status: Callable[[], str]) -> None:
        self._console = console
        self._status = status
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible")
        self._blocks = BlockSplitter()
        self._reasoning = ""
        self._spinner: Spinner | None = Spinner("dots", style="dim")
        self._next_drawing = 0.0
        self._anything = False

    def __enter__(self) -> AnswerWriter:
        self._live.start()
        self.draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spinner = None
        self._print_reasoning(self._reasoning)
        self._reasoning = ""
        for block in self._blocks.finish():
            self._print_block(block)
        self._live.update(Text(), refresh=True)
        self._live.stop()

    def add(self, piece: Piece) -> None:
        """Write a piece."""
        self._spinner = None
        if piece.reasoning:
            self._reasoning += printable(piece.text)
            *whole, self._reasoning = self._reasoning.rsplit("\n", 1)
            for lines in whole:
                self._print_reasoning(lines)
        else:
            self._print_reasoning(self._reasoning)
            self._reasoning = ""
            for block in self._blocks.feed(piece.text):
                self._print_block(block)
        if time.monotonic() >= self._next_drawing:
            self.draw()

    def draw(self) -> None:
        """Draw what may still change."""
        began = time.monotonic()
        self._live.update(self._changing(), refresh=True)
        took = time.monotonic() - began
        self._next_drawing = began + max(_SHORTEST_S, 10 * took)

    def _changing(self) -> RenderableType:
        if self._spinner is not None:
            self._spinner.update(text=Text(printable(self._status()), style="dim", no_wrap=True, overflow="ellipsis"))
            return self._spinner
        # What has scrolled off the screen could not be drawn anew.
        height = max(3, self._console.size.height - 3)
        if self._reasoning:
            return DrawnBlock(reasoning_text(self._reasoning), height)
        if self._blocks.pending.strip():
            block = DrawnBlock(PlainMarkdown(self._blocks.pending), height)
            return Group(Text(), block) if self._anything else block
        return Text()

    def _print_reasoning(self, text: str) -> None:
        if text.strip():
            self._anything = True
            self._console.print(DrawnBlock(reasoning_text(text)))

    def _print_block(self, block: str) -> None:
        if self._anything:
            self._console.print()
        self._anything = True
        self._console.print(DrawnBlock(PlainMarkdown(block)))
