"""All targets on one screen: panels side by side where there is room, else a table with a line for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..sparkline import sparkline
from ..terminal_text import printable
from .figures import figures, number, rate, seconds, share, state_text
from .history import TrendHistory
from .reading import Percentiles, Reading

_NARROWEST = 38
"""Columns of a panel at least."""
_WIDEST = 90
_BORDER = 2
_STYLES = {"up": "green", "not ready": "yellow", "away": "red", "unknown": "yellow"}


def screen(
    readings: Sequence[Reading], history: Sequence[TrendHistory], console: Console, footer: str = ""
) -> RenderableType:
    """What is drawn.

    Args:
        history: of each target.
        footer: a line at the end.
    """
    width = console.size.width
    columns = max(1, min(len(readings), width // _NARROWEST))
    panel_width = min(_WIDEST, width // columns)
    panels = [_panel(reading, trends, panel_width) for reading, trends in zip(readings, history, strict=True)]
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    height = sum(max(panel.height or 0 for panel in row) for row in rows)
    foot = Text(footer, style="dim", no_wrap=True, overflow="ellipsis")
    if len(readings) > 1 and console.is_terminal and height + 1 > console.size.height:
        return Group(_table(readings, width), foot)
    grids: list[RenderableType] = []
    for row in rows:
        grid = Table.grid()
        for _ in row:
            grid.add_column(width=panel_width)
        tallest = max(panel.height or 0 for panel in row)
        for panel in row:
            panel.height = tallest
        grid.add_row(*row)
        grids.append(grid)
    return Group(*grids, foot) if footer else Group(*grids)


def _panel(reading: Reading, trends: TrendHistory, width: int) -> Panel:
    inside = width - _BORDER - 2
    rows = list(figures(reading))
    title_width = max(len(title) for title in (*trends.titles, *(figure.title for figure in rows)))
    lines: list[Text] = _wrapped(Text(state_text(reading), _STYLES[reading.state]), inside)
    for figure in rows:
        text = Text(f"{figure.title:<{title_width}}  ", style="dim")
        text.append(printable(figure.text), style="bold red" if figure.alarming else "default not dim")
        lines += _wrapped(text, inside, title_width + 2)
    room = inside - title_width - 2
    for title, values in trends.newest(room).items():
        bars = sparkline(values)
        if bars:
            lines.append(Text.assemble((f"{title:<{title_width}}  ", "dim"), (bars, "cyan")))
    name = printable(reading.name)
    heading = Text(name if len(name) <= inside else f"{name[: inside - 1]}…", style="bold")
    content = Text("\n").join(lines)
    return Panel(
        content, title=heading, title_align="left", border_style="dim", width=width, height=len(lines) + _BORDER
    )


def _wrapped(text: Text, width: int, indent: int = 0) -> list[Text]:
    """The text in lines of that width, all but the first indented."""
    console = Console(width=width)
    first, *rest = text.wrap(console, width, overflow="fold")
    if not rest or indent >= width - 10:
        return [first, *rest]
    remaining = Text(" ").join(rest)
    lines = remaining.wrap(console, width - indent, overflow="fold")
    return [first, *(Text.assemble(" " * indent, line) for line in lines)]


def _table(readings: Sequence[Reading], width: int) -> Table:
    """A line for each target, with as many columns as there is room for."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=False)
    columns = [column for column in _COLUMNS if column.from_width <= width]
    name_width = max(10, width - 13 - sum(column.width + 2 for column in columns))
    table.add_column("target", overflow="ellipsis", no_wrap=True, max_width=name_width)
    table.add_column("state", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for reading in readings:
        cells = [column.text(reading) for column in columns]
        table.add_row(Text(printable(reading.name)), Text(reading.state, _STYLES[reading.state]), *cells)
    return table


class _Column(NamedTuple):
    """A column of the table. width: of its texts; from_width: the narrowest screen that has it."""

    title: str
    width: int
    from_width: int
    text: Callable[[Reading], str]


def _median(percentiles: Percentiles | None) -> str:
    return "-" if percentiles is None else seconds(percentiles.p50)


def _worst(percentiles: Percentiles | None) -> str:
    return "-" if percentiles is None else seconds(percentiles.p99)


def _cache(reading: Reading) -> str:
    return "-" if reading.cache_usage is None else share(reading.cache_usage)


_COLUMNS = (
    _Column("run", 4, 0, lambda reading: number(reading.running)),
    _Column("wait", 4, 50, lambda reading: number(reading.waiting)),
    _Column("tokens/s", 8, 0, lambda reading: rate(reading.completion_tokens_per_s)),
    _Column("TTFT", 6, 70, lambda reading: _median(reading.time_to_first_token)),
    _Column("p99", 6, 80, lambda reading: _worst(reading.time_to_first_token)),
    _Column("gap", 6, 110, lambda reading: _median(reading.inter_token)),
    _Column("p99", 6, 110, lambda reading: _worst(reading.inter_token)),
    _Column("KV", 5, 110, _cache),
    _Column("errors/s", 8, 80, lambda reading: rate(reading.errors_per_s)),
)
