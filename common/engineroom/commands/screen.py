"""The console on which the commands print: a terminal in its own width, or a pipe, for which no line is broken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNBROKEN = 100_000
"""Columns, more than any line has."""


def console() -> Console:
    """Standard output. It is as wide as the terminal or COLUMNS, else so wide that `grep` finds whole lines."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNBROKEN
    return console
