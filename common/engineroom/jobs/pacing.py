"""Pace: how often streams may send when each send costs processor time, so that sending never starves the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_WINDOW = 0.1
"""Seconds between two looks at the load."""
_STEP = 0.03
"""Seconds by which a gap begins to grow."""


class Pace:
    """As often as they like, until the event loop is busy for more than `BUSY` of the time.

    From there on every stream is held to one send a `gap`, and the gap is fitted to the load: items get larger
    instead of late. There is nothing to set. One `Pace` serves all the streams of a loop.

    Args:
        clock: seconds that pass.
        cpu: seconds of processor time that the loop's thread has used.
    """

    BUSY = 0.7
    """The share of the time for which the loop may be busy; the rest keeps all that it does punctual."""
    LONGEST_GAP = 0.25
    """Seconds a stream waits at most for its turn."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        self.gap = 0.0
        self._clock = clock
        self._cpu = cpu
        self._streams = 0
        self._sends = 0
        self._timer: asyncio.TimerHandle | None = None
        self._began = self._began_cpu = 0.0

    def stream(self) -> Turn:
        """One stream's turns; a context manager for as long as the stream lives."""
        return Turn(self)

    def _join(self) -> None:
        self._streams += 1
        if self._timer is None:
            self._begin()

    def _leave(self) -> None:
        self._streams -= 1

    def _begin(self) -> None:
        self._began, self._began_cpu, self._sends = self._clock(), self._cpu(), 0
        self._timer = asyncio.get_running_loop().call_later(_WINDOW, self._measure)

    def _measure(self) -> None:
        took = self._clock() - self._began
        # A timer that comes late says that the loop is overloaded, also where another process has the processor.
        late = took - _WINDOW
        busy = (self._cpu() - self._began_cpu + late) / took
        self.gap = fitted(self.gap, busy / self.BUSY, self._streams * took / max(self._sends, 1), self.LONGEST_GAP)
        if self._streams:
            self._begin()
        else:
            self._timer, self.gap = None, 0.0


def fitted(gap: float, load: float, interval: float, longest: float) -> float:
    """The gap for a load of 1, given the gap that led to this `load` and the `interval` between a stream's sends.

    It grows in steps: what keeps the loop busy may be a burst of new streams, over before the next look.
    """
    if load > 1:
        return min(max(gap, interval) * load, 2 * gap + _STEP, longest)
    return gap * max(load, 0.5) if gap > 0.001 else 0.0


class Turn:
    """One stream's place in a `Pace`."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._last = float("-inf")

    def __enter__(self) -> Turn:
        self._pace._join()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pace._leave()

    async def wait(self) -> None:
        """Wait for the turn; a stream's first comes at once."""
        rest = self._last + self._pace.gap - self._pace._clock()
        if rest > 0:
            await asyncio.sleep(rest)

    def taken(self) -> None:
        """Note that the stream sends now."""
        self._last = self._pace._clock()
        self._pace._sends += 1
