"""Progress while a stage is measured: one line that changes on a terminal, else a line every ten seconds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from .figures import Stage
from .reports.words import number, success
from .run import Live

if TYPE_CHECKING:
    from rich.console import Console

_TICK_S = 0.5
_LINE_S = 10.0


class LiveDisplay:
    """Shows stages on a console, which is standard error: the report alone goes to standard output."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def show(self, live: Live) -> None:
        """Until it is cancelled."""
        if not self._console.is_terminal:
            await self._lines(live)
            return
        from rich.live import Live as LiveLine
        from rich.text import Text

        # Nothing turns in between: a spinner's thread would take its time from the requests that are measured.
        with LiveLine(console=self._console, auto_refresh=False, transient=True) as line:
            while True:
                line.update(Text(_line(live), no_wrap=True, overflow="ellipsis"), refresh=True)
                await asyncio.sleep(_TICK_S)
                live.recorder.tick()

    async def _lines(self, live: Live) -> None:
        next_line = time.perf_counter() + _LINE_S
        while True:
            await asyncio.sleep(_TICK_S)
            live.recorder.tick()
            if time.perf_counter() >= next_line:
                next_line += _LINE_S
                self._console.print(_line(live), markup=False, soft_wrap=True)

    def ended(self, stage: Stage) -> None:
        """A line that stays."""
        verdict = "" if stage.met is None else f", objectives {'kept' if stage.met else 'missed'}"
        what = "TTFT" if stage.ttft.count else "answer"
        times = stage.ttft if stage.ttft.count else stage.end_to_end
        self._console.print(
            f"{stage.label}: {stage.requests:,} requests, {success(stage)} succeeded, "
            f"{number(stage.tokens_out_per_s)} tokens/s, {what} P50 {number(times.median)} ms, "
            f"P99 {number(times.p99)} ms{verdict}",
            markup=False,
            soft_wrap=True,
        )


def _line(live: Live) -> str:
    recorder = live.recorder
    spent = time.perf_counter() - live.began
    parts = [f"{live.level.label}: {spent:.0f} s"]
    if live.extent.seconds is not None:
        parts[0] += f" of {live.extent.seconds:g} s"
    total = f" of {live.extent.requests:,}" if live.extent.requests is not None else ""
    parts.append(f"{recorder.requests:,}{total} requests, {live.loop.in_flight:,} under way")
    if spent > 0:
        parts.append(f"{number(recorder.tokens_out / spent)} tokens/s")
    failed = recorder.requests - recorder.succeeded
    if failed:
        parts.append(f"{failed:,} failed")
    return ", ".join(parts)
