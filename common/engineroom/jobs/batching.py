"""How a stream is cut into items where each item costs a round trip: drain by default, BatchSize on request.

Drain sends everything that has piled up since the last item was sent. `Pace` holds it back only where sending alone
keeps the processor busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..asgi.stream import StreamSource

T = TypeVar("T")

_WINDOW_S = 0.1
"""Seconds between two looks at the load."""
_STEP_S = 0.03
"""Seconds by which a gap begins to grow."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Growing batches: `minimum` tokens first, so that the first come soon, each next `growth` times larger.

    With a growth of 1, or a minimum that is not below the maximum, every batch has `maximum` tokens.
    """

    maximum: int = 50
    minimum: int = 1
    growth: float = 3

    def sizes(self) -> Iterator[int]:
        """The sizes of a stream's batches, without end: 1, 3, 9, 27, 50, 50, …"""
        size = float(self.minimum if self.growth > 1 else self.maximum)
        while True:
            yield int(min(size, self.maximum))
            size = min(size * self.growth, self.maximum)


async def batched(
    source: StreamSource[T], size: BatchSize, tokens: Callable[[T], int]
) -> AsyncGenerator[Sequence[T], None]:
    """Batches of `size`; the last one is as small as it happens to be.

    Args:
        tokens: how many tokens a piece stands for.
    """
    sizes = size.sizes()
    wanted = next(sizes)
    batch: list[T] = []
    count = 0
    while await source.wait():
        for piece in source.drain():
            batch.append(piece)
            count += tokens(piece)
            if count >= wanted:
                yield batch
                wanted = next(sizes)
                batch = []
                count = 0
    if batch:
        yield batch


async def drained(source: StreamSource[T], pace: Pace) -> AsyncGenerator[Sequence[T], None]:
    """All that has piled up since the last batch was taken, at once where the reader is faster than the stream."""
    with pace.stream() as stream_pace:
        while await source.wait():
            if not source.ended:
                await stream_pace.wait()
            stream_pace.count_send()
            yield source.drain()


class Pace:
    """How often streams may send, so that sending never starves the rest. One serves all the streams of a loop.

    They send as often as they like until the event loop is busy for more than `BUSY` of the time. From there on each
    stream may send once a `gap`, which is fitted to the load: items get larger instead of late. There is nothing to
    set.

    Args:
        clock: seconds that pass.
        cpu: seconds of processor time that the loop's thread has used.
    """

    BUSY = 0.7
    """The share of the time for which the loop may be busy; the rest keeps all that it does punctual."""
    LONGEST_GAP = 0.25
    """Seconds that a stream waits at most between two sends."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        self.gap = 0.0
        self._clock = clock
        self._cpu = cpu
        self._streams = 0
        self._sends = 0
        self._timer: asyncio.TimerHandle | None = None
        self._window_began = 0.0
        self._cpu_before = 0.0

    def stream(self) -> StreamPace:
        """One stream's pace; a context manager for as long as the stream lives."""
        return StreamPace(self)

    def now(self) -> float:
        """Seconds on the clock."""
        return self._clock()

    def join(self) -> None:
        """Count a stream in. The load is measured for as long as there is one."""
        self._streams += 1
        if self._timer is None:
            self._begin_window()

    def leave(self) -> None:
        """Count a stream out."""
        self._streams -= 1

    def count_send(self) -> None:
        """Count a send of any of the streams."""
        self._sends += 1

    def _begin_window(self) -> None:
        self._window_began = self._clock()
        self._cpu_before = self._cpu()
        self._sends = 0
        self._timer = asyncio.get_running_loop().call_later(_WINDOW_S, self._measure)

    def _measure(self) -> None:
        elapsed = self._clock() - self._window_began
        # A timer that comes late says that the loop is overloaded, also where another process has the processor.
        late = elapsed - _WINDOW_S
        busy = (self._cpu() - self._cpu_before + late) / elapsed
        interval = self._streams * elapsed / max(self._sends, 1)
        self.gap = fit_gap(self.gap, busy / self.BUSY, interval, self.LONGEST_GAP)
        if self._streams:
            self._begin_window()
        else:
            self._timer = None
            self.gap = 0.0


def fit_gap(gap: float, load: float, interval: float, longest: float) -> float:
    """The gap for a load of 1.

    The gap grows in steps: what keeps the loop busy may be a burst of new streams, over before the next look.

    Args:
        gap: seconds; the one that led to this load.
        load: how busy the loop is; 1 is as busy as it may be.
        interval: seconds between a stream's sends.
        longest: seconds; no gap is longer.
    """
    if load > 1:
        return min(max(gap, interval) * load, 2 * gap + _STEP_S, longest)
    if gap > 0.001:
        return gap * max(load, 0.5)
    return 0.0


class StreamPace:
    """The pace of one stream."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._last_send = float("-inf")

    def __enter__(self) -> StreamPace:
        self._pace.join()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pace.leave()

    async def wait(self) -> None:
        """Wait until the stream may send; for the first time that is at once."""
        rest = self._last_send + self._pace.gap - self._pace.now()
        if rest > 0:
            await asyncio.sleep(rest)

    def count_send(self) -> None:
        """Note that the stream sends now."""
        self._last_send = self._pace.now()
        self._pace.count_send()
