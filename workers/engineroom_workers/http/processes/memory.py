"""The memory for requests that wait, as all door processes share it."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from ..protocol import RequestMemory

_SLOT = struct.Struct("q")


class SharedRequestMemory(RequestMemory):
    """What all door processes together may hold of requests that do not run yet.

    Each has a slot of a shared file for what it holds, so that what a process held goes with it.

    Args:
        limit: bytes, of all processes.
        file: the descriptor of a file that they share, with room for all slots; `shared_file` makes one.
        slot: this process's.
    """

    def __init__(self, limit: int, file: int, slot: int) -> None:
        super().__init__(limit)
        self._file = file
        self._slot = slot
        self._map = mmap.mmap(file, 0)
        self._write(0)

    def take(self, more: int, size: int) -> bool:
        # The lock goes with a process that is killed.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            self.held = _sum(self._map[:])
            if more > 0 and not self.allows(more, size):
                return False
            self._own += more
            self._write(self._own)
            self.held += more
            return True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _write(self, held: int) -> None:
        self._own = held
        _SLOT.pack_into(self._map, self._slot * _SLOT.size, held)


def shared_file(slots: int) -> int:
    """The descriptor of a file without a name, for processes that inherit it."""
    file = os.memfd_create("engineroom-request-memory") if hasattr(os, "memfd_create") else _temporary_file()
    os.truncate(file, slots * _SLOT.size)
    return file


def held_by_all(file: int) -> int:
    """Bytes that all processes hold now."""
    size = os.fstat(file).st_size
    return _sum(os.pread(file, size, 0))


def _sum(slots: bytes) -> int:
    return sum(held for (held,) in _SLOT.iter_unpack(slots))


def _temporary_file() -> int:
    import tempfile

    with tempfile.TemporaryFile() as temporary:
        return os.dup(temporary.fileno())
