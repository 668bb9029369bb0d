"""What the commands print on: a terminal in its own width, or a pipe, for which no line is broken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNBROKEN = 100_000


def console() -> Console:
    """Standard output: as wide as the terminal or COLUMNS, else so wide that `grep` finds whole lines."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNBROKEN
    return console
