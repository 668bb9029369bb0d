"""A report on a terminal, or as plain lines of text where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...sparkline import sparkline
from ..compare import Comparison
from ..figures import Report, Stage
from .files import stage_table
from .words import FIGURES, HEADINGS, counting, durations, headline, number, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

_WIDE = 140
"""Columns from which on figures are written as in every other report: all of them, in milliseconds."""

_FEW_SLICES = 5
_LONG_MS = 10_000

_BRIEF = {
    "TTFT, ms P50 / P99": "TTFT, ms\nP50/P99",
    "token, ms P50 / P99": "token, ms\nP50/P99",
    "answer, ms P50 / P99": "answer, ms\nP50/P99",
    "objectives kept": "kept",
}
_DROPPED_FIRST = ("requests/s", "tokens/s in", "goodput/s", "requests", "success")
"""Columns that a narrow terminal can do without; requests that failed are told of below the table, too."""

_FIGURES_DROPPED_FIRST = ("std.\ndev.", "min", "P90", "mean")


def show(report: Report, console: Console) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(headline(report), "bold"))
    console.print(_stages(report, console))
    for stage in report.stages:
        console.print()
        details = _durations(stage, console)
        if details.row_count:
            console.print(details)
        _show_courses(stage, console)
        for kind, failure in stage.failures.items():
            line = Text(f"{failure.count:,} failed: {kind}", "red")
            line.append(f"  “{failure.example}”; {failure.remedy}", "default")
            console.print(line)
        if stage.given_up:
            console.print(f"{stage.given_up:,} requests were under way when it was stopped, and count nowhere.")
    console.print()
    console.print(Text(" ".join([counting(report), *(plain(note) for note in report.notes)]), "dim"))
    for advice in report.verdict:
        console.print()
        console.print(Text(plain(advice.limit), "bold"))
        console.print(Text(f"  Try: {plain(advice.remedy)}"))
    if report.interrupted:
        console.print(Text("\nStopped before its end: this is what was measured by then.", "yellow"))


def _stages(report: Report, console: Console) -> Table:
    """The table of all stages."""
    if console.width >= _WIDE:
        heading, rows = stage_table(report)
        return _table(heading, rows)
    heading, rows = stage_table(report, _brief)
    heading = [_BRIEF.get(name, name) for name in heading]
    return _fitting(console, heading, [[cell.replace(" / ", "/") for cell in row] for row in rows], _DROPPED_FIRST)


def _durations(stage: Stage, console: Console) -> Table:
    """The table of a stage's distributions."""
    is_wide = console.width >= _WIDE
    write = number if is_wide else _brief
    rows = [[name, *(write(getattr(figures, figure)) for figure in FIGURES)] for name, figures in durations(stage)]
    if is_wide:
        return _table([f"{stage.label}, ms", *HEADINGS], rows)
    heading = [f"{stage.label}, ms", *(name.replace(" ", "\n") for name in HEADINGS)]
    return _fitting(console, heading, rows, _FIGURES_DROPPED_FIRST)


def _fitting(
    console: Console, heading: Sequence[str], rows: Sequence[Sequence[str]], dropped_first: Sequence[str]
) -> Table:
    """A table with as many of its columns as there is room for."""
    from rich.measure import Measurement

    table = _table(heading, rows)
    for dropped in dropped_first:
        if Measurement.get(console, console.options.update(width=1000), table).maximum <= console.width:
            break
        place = heading.index(dropped)
        heading = [*heading[:place], *heading[place + 1 :]]
        rows = [[*row[:place], *row[place + 1 :]] for row in rows]
        table = _table(heading, rows)
    return table


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, name in enumerate(heading):
        # What has no room goes on in the next line: half a number would be another.
        table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _brief(ms: float) -> str:
    """Milliseconds in few characters: long ones are in seconds, with their unit."""
    if ms < _LONG_MS:
        return number(ms)
    seconds = ms / 1000
    return f"{seconds:,.0f}s" if seconds >= 1000 else f"{seconds:.3g}s"


def _show_courses(stage: Stage, console: Console) -> None:
    """How a stage went: its tokens and first tokens second by second, as bars."""
    from rich.text import Text

    slices = stage.slices
    if len(slices) < _FEW_SLICES:
        return
    room = max(20, console.width - 40)
    step = -(-len(slices) // room)
    courses: list[tuple[str, list[float | None], str]] = [
        ("tokens/s", [one.tokens_per_s for one in slices], ""),
        ("TTFT P50", [one.ttft_p50_ms or None for one in slices], " ms"),
    ]
    for title, values, unit in courses:
        shares = [values[start : start + step] for start in range(0, len(values), step)]
        # Of several slices that share a bar the largest is shown.
        bars = sparkline([max((one for one in share if one), default=None) for share in shares])
        if bars:
            highest = max(value for value in values if value)
            line = Text(f"{title:<10}", "dim")
            line.append(bars, "cyan")
            line.append(f"  at most {number(highest)}{unit}", "dim")
            console.print(line, soft_wrap=True)


def show_comparison(comparison: Comparison, before: str, after: str) -> None:
    """What differs between two runs, better in green and worse in red."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for warning in comparison.warnings:
        console.print(Text(warning, "yellow"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("load", "figure"):
        table.add_column(name, overflow="fold")
    for name in (before, after, "change", ""):
        table.add_column(name, justify="right", overflow="fold")
    label = ""
    for change in comparison.changes:
        style = {1: "green", -1: "red", 0: ""}[change.better]
        word = {1: "better", -1: "worse", 0: "same"}[change.better]
        percent = Text(f"{change.percent:+.1f} %" if change.before else "-", style)
        shown = change.stage if change.stage != label else ""
        label = change.stage
        table.add_row(shown, change.figure, number(change.before), number(change.after), percent, Text(word, style))
    console.print(table)
    if comparison.unmatched:
        console.print(Text(f"Only one of the runs has: {', '.join(comparison.unmatched)}.", "yellow"))
