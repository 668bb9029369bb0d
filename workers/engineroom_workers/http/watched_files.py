"""Files that are read again when they change, while the door serves: keys and certificates."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from engineroom.errors import SettingsError

logger = logging.getLogger(__name__)

_INTERVAL_S = 0.5
"""How often we look. Two looks must show the same before files are read, so that nothing half written is."""


class WatchedFiles:
    """Files that belong together, such as a certificate and its key.

    What has been read stays in force where a new version is wrong; the log says so once for each version. A file is
    told by the inode that its path leads to, its time and its size: that notices one that is written anew, renamed into
    its place (certbot), and a folder's symbolic link that now leads elsewhere (Kubernetes' secrets).

    Make it before the files are first read, so that no change in between is missed.

    Args:
        paths: the files.
        content: what is in them, in words for the log: `the keys`.
        read: reads them; raises SettingsError where they are wrong.
    """

    def __init__(self, paths: Sequence[Path], content: str, read: Callable[[], None]) -> None:
        self._paths = tuple(paths)
        self._content = content
        self._read = read
        self._in_force = self._versions()
        self._last_look = self._in_force

    def look(self) -> None:
        """Read the files again if they have changed, and have stayed the same since the last look."""
        versions = self._versions()
        settled = versions == self._last_look
        self._last_look = versions
        if not settled or versions == self._in_force:
            return
        self._in_force = versions
        names = " and ".join(str(path) for path in self._paths)
        try:
            self._read()
        except SettingsError as error:
            logger.error("%s stay in force as they were, since their files are wrong: %s", self._content, error)
        except Exception:
            logger.exception("%s stay in force as they were: %s cannot be read", self._content, names)
        else:
            logger.info("%s were read again from %s", self._content, names)

    def _versions(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_version(path) for path in self._paths)


async def watch(files: Sequence[WatchedFiles]) -> None:
    """Look after the files, until this is cancelled."""
    while files:
        await asyncio.sleep(_INTERVAL_S)
        for one in files:
            one.look()


def _version(path: Path) -> tuple[int, ...]:
    """What another version of a file has other than this one; nothing but an error's number where there is none."""
    try:
        status = os.stat(path)
    except OSError as error:
        return (error.errno or 0,)
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
