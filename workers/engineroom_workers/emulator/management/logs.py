"""The lines that a container wrote, and those of the platform about it, kept for clients that read them later."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from engineroom.timeouts import timeout

from ..notifications import Notification
from .identifiers import timestamp

LogSource: TypeAlias = Literal["container", "system"]
LOG_SOURCES: Final[tuple[LogSource, ...]] = get_args(LogSource)
KEPT_LINES: Final = 5000
"""As many as a client may ask for at once."""


class ContainerLine(NamedTuple):
    """One line, and when it came (seconds since the epoch)."""

    source: LogSource
    line: str
    at: float

    @property
    def ts(self) -> str:
        return timestamp(self.at, "microseconds")


class Log:
    """The last lines of one container. `changed` notifies at each new one, and at the end."""

    def __init__(self) -> None:
        self.closed = False
        self.changed = Notification()
        self.written = 0
        """How many lines there have been."""
        self._last_at = 0.0
        self._lines: deque[ContainerLine] = deque(maxlen=KEPT_LINES)

    def container(self, line: str) -> None:
        """Add a line of the container's output."""
        self._add("container", line)

    def system(self, line: str) -> None:
        """Add a line of the platform's."""
        self._add("system", line)

    def close(self) -> None:
        """No more lines follow."""
        self.closed = True
        self.changed.notify_all()

    def last(self, count: int, source: LogSource | None = None) -> list[ContainerLine]:
        """The last lines of one source, or of both."""
        lines = [line for line in self._lines if source in (None, line.source)]
        return lines[len(lines) - count :] if count < len(lines) else lines

    def after(self, at: str) -> list[ContainerLine]:
        """The lines that came later than a time, in RFC 3339 as the log writes it."""
        return [line for line in self._lines if line.ts > at]

    async def more_than(self, written: int, seconds: float) -> bool:
        """Wait until there have been more lines than that, or no more follow; whether that is so in time."""
        try:
            async with timeout(seconds):
                await self.changed.wait_for(lambda: self.closed or self.written > written)
        except asyncio.TimeoutError:
            return False
        return True

    def since(self, written: int) -> Iterable[ContainerLine]:
        """The lines that came after there had been `written`, as far as they are kept."""
        count = min(self.written - written, len(self._lines))
        return list(self._lines)[len(self._lines) - count :]

    def _add(self, source: LogSource, line: str) -> None:
        # Clients resume after a time, so no two lines may have the same.
        self._last_at = max(time.time(), self._last_at + 1e-6)
        self._lines.append(ContainerLine(source, line, self._last_at))
        self.written += 1
        self.changed.notify_all()
