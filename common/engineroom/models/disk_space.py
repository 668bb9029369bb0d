"""Whether a disk has room for what is to be downloaded, asked before the first byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..progress import size_text
from .hub import HubError


def check_room(what: str, folder: Path, needed: int, remedy: str = "") -> None:
    """Check that a folder, which may not be there yet, can take so many bytes more.

    Args:
        what: what is downloaded, for people.
        remedy: what to do where there is no room; nothing where nobody can.

    Raises:
        HubError: it cannot; a temporary one.
    """
    place = next(each for each in (folder, *folder.parents) if each.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        advice = f"; {remedy}" if remedy else ""
        raise HubError(
            f"the disk is too small for {what}: {size_text(needed)} are still to be downloaded, and {folder} has "
            f"{size_text(free)} left{advice}",
            temporary=True,
        )
