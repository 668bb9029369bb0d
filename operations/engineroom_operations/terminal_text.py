"""Text from elsewhere on a terminal: what it could steer the terminal with is taken out."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 but for tab and newline, and the marks that turn the direction of writing: a server or a model that sends
them could write over what stands on the screen, set the window's title, or make text read as another."""


def printable(text: str) -> str:
    """The text without control characters; a carriage return before a newline goes, too."""
    return _CONTROLS.sub("", text)


def one_line(text: str, limit: int = 300) -> str:
    """The text as one line, for a message: white space collapsed, at most `limit` characters."""
    line = " ".join(printable(text.replace("\n", " ")).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
