"""A report on a terminal, or as plain lines of text where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...sparkline import sparkline
from ..compare import Comparison
from ..figures import Report, Stage
from .files import stage_table
from .words import FIGURES, HEADINGS, counting, durations, headline, number, plain

if TYPE_CHECKING:
    from rich.console import Console

_NARROW = 140
_FEW_SLICES = 5

_BRIEF = {
    "TTFT, ms P50 / P99": "TTFT P50/P99",
    "token, ms P50 / P99": "token P50/P99",
    "answer, ms P50 / P99": "answer P50/P99, ms",
    "objectives kept": "kept",
}


def show(report: Report, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text(headline(report), "bold"))
    heading, rows = stage_table(report)
    if console.width < _NARROW:
        # Of ten columns a narrow terminal shows those that decide.
        dropped = [heading.index(name) for name in ("requests/s", "tokens/s in", "goodput/s")]
        heading = [_BRIEF.get(name, name) for position, name in enumerate(heading) if position not in dropped]
        rows = [
            [cell.replace(" / ", "/") for position, cell in enumerate(row) if position not in dropped] for row in rows
        ]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for position, name in enumerate(heading):
        table.add_column(name, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for stage in report.stages:
        console.print()
        details = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", title_style="bold")
        details.add_column(f"{stage.label}, ms", no_wrap=True)
        for name in HEADINGS:
            details.add_column(name, justify="right")
        for name, figures in durations(stage):
            details.add_row(name, *(number(getattr(figures, figure)) for figure in FIGURES))
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
        table.add_column(name)
    for name in (before, after, "change", ""):
        table.add_column(name, justify="right")
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
