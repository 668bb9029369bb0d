"""Read files into the page cache while somebody else is busy, so that loading them later finds them in memory."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

logger = logging.getLogger(__name__)

_CHUNK = 8 << 20
_SHARE_OF_FREE_MEMORY = 0.6
"""The share of free memory that may be filled; more would push out what has just been read."""


class ReadAhead:
    """Reads files in threads of its own, four at a time: a network volume serves one reader slowly.

    `start()` it inside a running loop; `await stop()` it always.
    """

    def __init__(self, files: Sequence[Path], threads: int = 4) -> None:
        self._files = files
        self._threads = threads
        self._stopped = threading.Event()
        self._work: asyncio.Future[int] | None = None

    def __reduce__(self) -> tuple[type[ReadAhead], tuple[Sequence[Path]]]:
        """For another process there is nothing to read ahead."""
        return ReadAhead, ((),)

    def start(self) -> None:
        """Begin, unless the files are more than fits."""
        size = sum(file.stat().st_size for file in self._files)
        if 0 < size <= _SHARE_OF_FREE_MEMORY * _free_memory():
            self._work = asyncio.get_running_loop().run_in_executor(None, self._read_all)

    async def stop(self) -> None:
        """End within a chunk."""
        self._stopped.set()
        if self._work is not None:
            await asyncio.wait({self._work})
            if not self._work.cancelled() and self._work.exception() is not None:
                logger.warning(
                    "could not read the model's files into memory before the start: %s", self._work.exception()
                )
            self._work = None

    def _read_all(self) -> int:
        with ThreadPoolExecutor(self._threads) as pool:
            return sum(pool.map(self._read, self._files))

    def _read(self, file: Path) -> int:
        read = 0
        buffer = bytearray(_CHUNK)
        with file.open("rb", buffering=0) as source:
            while not self._stopped.is_set() and (size := source.readinto(buffer)):
                read += size
        return read


def _free_memory() -> float:
    """Bytes that may be used without swapping; no limit where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024
    except (OSError, StopIteration):
        return float("inf")
