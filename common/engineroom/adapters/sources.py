"""The adapters that there are: those of a folder, and those that may be downloaded once a client names them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from ..errors import APIError
from ..models.formats import adapter_base
from .settings import AdapterSettings

logger = logging.getLogger(__name__)

AdapterForm: TypeAlias = Literal["peft", "gguf"]
"""`peft`: a folder with `adapter_config.json` and safetensors. `gguf`: one file."""

_TOGETHER = 4
"""Downloads at the same time; more wait for their turn."""
_LOOK_S = 1.0
"""Seconds for which an adapter is taken as it was last seen: a volume in the network takes its time to say."""


class Adapter(NamedTuple):
    """An adapter on this machine.

    path: its folder (`peft`) or file (`gguf`).
    version: changes with its files.
    """

    name: str
    path: Path
    version: str


@dataclass(slots=True)
class _Download:
    """An adapter on its way. clients: requests that wait for it; begun: it is no longer waiting for its own turn."""

    task: asyncio.Task[Path] | None = None
    clients: int = 0
    begun: bool = False


def unknown_adapter(name: str) -> APIError:
    """What a client gets that asks for an adapter which is not there."""
    message = f"The model `{name}` does not exist; `GET /v1/models` lists the models and adapters that do."
    return APIError(message, status=404, param="model", code="model_not_found")


class AdapterSources:
    """Finds adapters by the names that clients use.

    Args:
        settings: where to look.
        form: what the engine loads.
        download: brings an adapter of a hub or a bucket to this machine, and returns where it is; raises APIError.
        clock: the time in seconds, from any beginning.
    """

    def __init__(
        self,
        settings: AdapterSettings,
        form: AdapterForm,
        download: Callable[[str], Awaitable[Path]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._form = form
        self._download = download
        self._folder = Path(settings.lora_dir) if settings.lora_dir else None
        self._of_folder: frozenset[str] = frozenset()
        self._downloaded: dict[str, Path] = {}
        self._clock = clock
        self._seen: dict[str, tuple[float, Adapter]] = {}
        """Adapters as they were a moment ago, and until when they count as that."""
        self._under_way: dict[str, _Download] = {}
        self._turns = asyncio.Semaphore(_TOGETHER)

    def knows(self, name: str) -> bool:
        """Whether an adapter of that name was there when the folder was last looked at, or has been downloaded."""
        return name in self._of_folder or name in self._downloaded

    def may_download(self, name: str) -> bool:
        """Whether an adapter of that name may be downloaded."""
        return self._settings.allow(name)

    async def exists(self, name: str) -> bool:
        """Whether there is such an adapter now, or one may be downloaded."""
        return self.may_download(name) or await asyncio.to_thread(self._place_in_folder, name) is not None

    async def names(self) -> tuple[str, ...]:
        """The adapters of the folder now, and those that have been downloaded; sorted."""
        self._of_folder = frozenset(await asyncio.to_thread(self._in_folder))
        return tuple(sorted(self._of_folder | self._downloaded.keys()))

    async def obtain(self, name: str) -> Adapter:
        """The adapter, downloaded where it is not on this machine. Requests for one adapter share a download.

        Raises:
            APIError: 404 where there is none, and whatever the download raises.
        """
        until, adapter = self._seen.get(name, (0.0, None))
        if adapter is None or self._clock() >= until:
            self._seen.pop(name, None)
            adapter = await self._look_for(name)
            self._seen[name] = (self._clock() + _LOOK_S, adapter)
        return adapter

    async def close(self) -> None:
        """End the downloads that are under way; what has been downloaded of them is kept."""
        tasks = [download.task for download in self._under_way.values() if download.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_for(self, name: str) -> Adapter:
        place = await asyncio.to_thread(self._place_in_folder, name)
        if place is not None:
            self._of_folder |= {name}
            return await asyncio.to_thread(_describe, name, place)
        if not self.may_download(name):
            self._of_folder -= {name}
            raise unknown_adapter(name)
        if name not in self._downloaded or not self._downloaded[name].exists():
            self._downloaded[name] = await self._bring(name)
        return await asyncio.to_thread(_describe, name, self._downloaded[name])

    async def _bring(self, name: str) -> Path:
        """A download that has begun goes on for the next who asks, also where every client has left. One that waits for
        its turn does not: nobody can pile them up."""
        download = self._under_way.get(name)
        if download is None or download.task is None:
            download = self._under_way[name] = _Download()
            download.task = asyncio.ensure_future(self._fetch(name, download))
            download.task.add_done_callback(partial(self._ended, name))
        download.clients += 1
        try:
            return await asyncio.shield(download.task)
        finally:
            download.clients -= 1
            if not download.clients and not download.begun:
                download.task.cancel()
                self._forget(name, download.task)  # Who asks next is not to wait for what ends.

    async def _fetch(self, name: str, download: _Download) -> Path:
        async with self._turns:
            download.begun = True
            logger.info("downloading the adapter %s", name)
            return await self._download(name)

    def _ended(self, name: str, task: asyncio.Task[Path]) -> None:
        self._forget(name, task)
        if not task.cancelled():
            # Perhaps every client has left; asyncio would complain then that nobody has looked at the exception.
            task.exception()

    def _forget(self, name: str, task: asyncio.Task[Path]) -> None:
        download = self._under_way.get(name)
        if download is not None and download.task is task:
            del self._under_way[name]

    def _in_folder(self) -> list[str]:
        if self._folder is None:
            return []
        try:
            entries = [entry.name for entry in os.scandir(self._folder)]
        except OSError as error:
            logger.warning("LORA_DIR=%s cannot be read: %s", self._folder, error.strerror)
            return []
        names = {entry.removesuffix(".gguf") if self._form == "gguf" else entry for entry in entries}
        return [name for name in names if self._place_in_folder(name) is not None]

    def _place_in_folder(self, name: str) -> Path | None:
        """Where the folder has an adapter of that name."""
        if self._folder is None or not is_plain(name):
            return None
        place = self._folder / name
        if self._form == "gguf" and not place.is_dir():
            file = place.with_name(f"{name}.gguf")
            return file if adapter_base(file) is not None else None
        return adapter_in(place, self._form)


def adapter_in(folder: Path, form: AdapterForm) -> Path | None:
    """The adapter that a folder is, or whose one file it has; None where it has none of that form."""
    if form == "peft":
        return folder if adapter_base(folder) is not None else None
    files = sorted(folder.glob("*.gguf"))
    return files[0] if len(files) == 1 and adapter_base(files[0]) is not None else None


def is_plain(name: str) -> bool:
    """Whether a name is one entry of a folder, and no way out of it."""
    return bool(name) and not name.startswith(".") and not {"/", "\\", "\0"} & {*name} and len(name.encode()) <= 200


def _describe(name: str, place: Path) -> Adapter:
    """Raises APIError where it has been removed meanwhile."""
    digest = hashlib.sha256(str(place).encode())
    try:
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            about = file.stat()
            digest.update(f"{file.name} {about.st_size} {about.st_mtime_ns}".encode())
    except OSError:
        raise unknown_adapter(name) from None
    return Adapter(name, place, digest.hexdigest()[:16])
