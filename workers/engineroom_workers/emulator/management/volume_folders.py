"""Folders of this machine that stand for volumes. They go with the emulator, or with the next if that was killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "engineroom-volumes-"
_NAME: Final = re.compile(rf"{_PREFIX}(\d+)-\w+")


class VolumeFolders:
    """One folder for each volume that something was mounted from."""

    def __init__(self) -> None:
        self._root: Path | None = None
        _sweep(Path(tempfile.gettempdir()))

    def folder(self, volume_id: str) -> Path:
        """A volume's folder, which is there from now on."""
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        folder = self._root / volume_id
        folder.mkdir(exist_ok=True)
        return folder

    def remove(self, volume_id: str) -> None:
        """Remove what a volume had."""
        if self._root is not None:
            shutil.rmtree(self._root / volume_id, ignore_errors=True)

    def close(self) -> None:
        """Remove all."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the folders of emulators that are gone."""
    for folder in place.glob(f"{_PREFIX}*"):
        name = _NAME.fullmatch(folder.name)
        if name is not None and not _lives(int(name[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
