"""Where the door is between its start and its end, as probes report it and requests feel it."""

from __future__ import annotations

import time
from collections.abc import Callable


class DoorLifecycle:
    """Whether the engine has started, and whether the door drains.

    A door that drains gets no more requests: whoever asks whether it is ready is told that it is not. Balancers need
    seconds to notice, so for the time of its lame duck it serves what comes all the same. After that it refuses.

    Args:
        lame_duck: seconds of that.
        clock: seconds that pass.

    started: whether the engine has been ready once; it stays so.
    draining: whether the door is to get no more requests. Every request looks at it.
    ending: whether it drains because the process is about to end, so that nothing can take it back.
    """

    def __init__(self, lame_duck: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lame_duck = lame_duck
        self._clock = clock
        self._since = 0.0
        self.started = False
        self.draining = False
        self.ending = False

    def drain(self) -> None:
        """Begin to drain; nothing changes where it has begun already."""
        if not self.draining:
            self.draining = True
            self._since = self._clock()

    def end(self, now: bool = False) -> None:
        """Drain, because the process is about to end.

        Args:
            now: without a lame duck, or what is left of one.
        """
        self.drain()
        self.ending = True
        if now:
            self._lame_duck = 0.0

    def resume(self) -> bool:
        """Take requests again; False, and nothing changes, where the process is about to end."""
        if self.ending:
            return False
        self.draining = False
        return True

    @property
    def lame_duck_left(self) -> float:
        """Seconds for which requests are still served; 0 where none are. Only while it drains."""
        return max(0.0, self._since + self._lame_duck - self._clock())

    @property
    def refuses(self) -> bool:
        """Whether requests are refused."""
        return self.draining and not self.lame_duck_left

    @property
    def reason(self) -> str:
        """Why the door is not ready although its engine is, for people."""
        if self.refuses:
            return "draining: no more requests are taken"
        return f"draining: requests are still served for {self.lame_duck_left:.0f} s"
