"""The memory that a process's descendants hold, read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .reaper import descendants


def read_memory(root: int) -> int | None:
    """Resident bytes of all descendants of a process, shared ones counted in each; None where there are none to see."""
    pages = []
    for pid in descendants(root):
        with suppress(OSError, ValueError, IndexError):  # It may just have ended.
            pages.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") if pages else None
