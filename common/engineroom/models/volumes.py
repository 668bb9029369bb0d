"""Caches on a volume that is full or cannot be written: they go to the machine's own disk instead, with one warning."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

_READABLE = "ENGINEROOM_READABLE_CACHES"
"""Where an environment has the caches that were replaced."""
_ROOM = 64_000_000
"""Bytes that must be free, for a cache to be worth its place."""
_TRIED = 1_000_000
"""Bytes that are written to see whether they can be: a volume with a quota says only then that it is full."""


def why_unwritable(path: Path) -> str | None:
    """Why nothing can be kept at a path, whose folder need not exist yet; None where something can."""
    folder = path.expanduser()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = os.statvfs(folder)
        if free.f_bavail * free.f_frsize < _ROOM:
            return "no space left"
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * _TRIED)
            file.flush()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def own_disk() -> Path:
    """Where caches go that have no other place: nobody else's folder, which stays for the next start."""
    folder = Path(tempfile.gettempdir()) / f"engineroom-caches-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="engineroom-caches-"))
    return folder


def readable(environ: Mapping[str, str]) -> list[str]:
    """The folders of hubs' caches that cannot be written, and may have what is wanted all the same."""
    return [place for place in environ.get(_READABLE, "").split(os.pathsep) if place]


def fall_back(environ: dict[str, str], hubs: Iterable[str], names: Iterable[str], volume: str) -> None:
    """Name places on this machine's own disk for the caches whose own cannot be written.

    Args:
        environ: the environment of an engine, which is changed.
        hubs: variables that name the folders of hubs' clients; where they are replaced, `readable` has the old ones.
        names: variables that name the folders of other caches.
        volume: where the volume would be that caches are put on unasked; one that is there and cannot be written is
            told of.
    """
    moved: list[str] = []
    old: list[str] = []
    reasons: dict[str, None] = {}
    hub_names = list(hubs)
    for name in [*hub_names, *names]:
        place = environ.get(name, "")
        why = why_unwritable(Path(place)) if place else None
        if why is None:
            continue
        reasons[f"{place}: {why}"] = None
        environ[name] = str(own_disk() / name.lower())
        moved.append(name)
        if name in hub_names:
            old += [str(Path(place).expanduser() / "hub"), str(Path(place).expanduser())]
    if old:
        environ[_READABLE] = os.pathsep.join(old)
    if not moved and Path(volume).is_dir():
        why = why_unwritable(Path(volume))
        if why is not None:
            reasons[f"{volume}: {why}"] = None
    if reasons:
        what = " and ".join(moved) or "models and what is compiled"
        where = f" in {own_disk()}" if moved else ""
        _warn(
            f"nothing can be written to {'; '.join(reasons)}. {what} go to this machine's own disk{where}, which the "
            "next worker does not have: make room, or mount the volume so that it can be written"
        )


@functools.cache
def _warn(message: str) -> None:
    """Warn once, however often the settings are read."""
    logger.warning("%s", message)
