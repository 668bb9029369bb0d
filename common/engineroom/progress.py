"""How far something is that takes its time, in numbers and in words."""

from __future__ import annotations

from typing import NamedTuple

_UNITS = ("B", "kB", "MB", "GB", "TB")


class Progress(NamedTuple):
    """How far a download is. done, total: bytes."""

    what: str
    done: int
    total: int


def size_text(size: float) -> str:
    """Bytes for people: `4.7 GB`."""
    unit = 0
    while size >= 999.95 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit > 1 else f"{size:.0f} {_UNITS[unit]}"


def time_text(seconds: float) -> str:
    """Seconds for people: `45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
