"""What a person sees while a model is downloaded and loaded: a bar or a spinner on a terminal, lines in a log."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .progress import Progress, size_text, time_text
from .timeline import Timeline

logger = logging.getLogger(__name__)

_FIRST_LINE_S = 0.3
"""What is ready sooner needs no line and no spinner."""
_INTERVAL_S = 10
_DOWNLOAD_INTERVAL_S = 5
_TICK_S = 0.2


@asynccontextmanager
async def waiting(timeline: Timeline, text: Callable[[], str]) -> AsyncIterator[None]:
    """Show that something is under way, until the block is left.

    Args:
        timeline: has the phase that ended last, and the progress of a download.
        text: what is under way, e.g. `echo is loading small`.
    """
    task = asyncio.ensure_future(_spin(timeline, text) if sys.stderr.isatty() else _log_lines(timeline, text))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _log_lines(timeline: Timeline, text: Callable[[], str]) -> None:
    started = time.monotonic()
    await asyncio.sleep(_FIRST_LINE_S)
    logger.info("%s", text())
    last_line = time.monotonic()
    speed = Speed()
    was_downloading = False
    while True:
        await asyncio.sleep(_TICK_S)
        now = time.monotonic()
        progress = timeline.progress
        if progress is not None:
            if not was_downloading or now - last_line >= _DOWNLOAD_INTERVAL_S:
                logger.info("downloading %s: %s", progress.what, in_words(progress, speed.of(progress, now)))
                last_line = now
        elif was_downloading:
            logger.info("downloaded")
            last_line = now
        elif now - last_line >= _INTERVAL_S:
            logger.info("%s: %.0f s so far, last finished: %s", text(), now - started, timeline.last)
            last_line = now
        was_downloading = progress is not None


class Speed:
    """Bytes a second since the first look."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def of(self, progress: Progress, now: float) -> float | None:
        """None at the first look."""
        if self._first is None:
            self._first = (now, progress.done)
            return None
        began, done = self._first
        return (progress.done - done) / (now - began) if now > began else None


def in_words(progress: Progress, speed: float | None) -> str:
    """`1.2 GB of 4.7 GB, 35.0 MB/s, 100 s left`."""
    parts = [f"{size_text(progress.done)} of {size_text(progress.total)}"]
    if speed:
        parts += [f"{size_text(speed)}/s", f"{time_text((progress.total - progress.done) / speed)} left"]
    return ", ".join(parts)


async def _spin(timeline: Timeline, text: Callable[[], str]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display
    from rich.table import Column
    from rich.text import Text

    class DownloadBar(BarColumn):
        """A bar where it is known how much there is."""

        def render(self, task: Task) -> Text:  # type: ignore[override]
            return Text() if task.total is None else super().render(task)  # type: ignore[return-value]

    class DownloadWords(ProgressColumn):
        def render(self, task: Task) -> Text:
            if task.total is None:
                return Text()
            speed = task.finished_speed or task.speed
            return Text(in_words(Progress("", int(task.completed), int(task.total)), speed), "dim")

    await asyncio.sleep(_FIRST_LINE_S)
    description = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    columns = [SpinnerColumn(), description, DownloadBar(bar_width=16), DownloadWords(), TimeElapsedColumn()]
    with Display(*columns, console=Console(stderr=True), transient=True) as display:
        # It turns in a thread of its own until this is cancelled.
        spinner = display.add_task(text(), total=None)
        bar = display.add_task("", total=None, visible=False)
        while True:
            progress = timeline.progress
            display.update(spinner, description=text(), visible=progress is None)
            if progress is None:
                display.update(bar, visible=False)
            else:
                display.update(
                    bar, description=progress.what, completed=progress.done, total=progress.total, visible=True
                )
            await asyncio.sleep(_TICK_S)
