"""Settings as a table for people: aligned and folded to the terminal's width, a line each in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_GAP = 2
_INDENT = 6
_LEAST = 8
_WIDEST_SOURCE = 24
_WIDEST_VALUE = 24
"""With descriptions beside them, longer values are folded."""

_NARROWEST_HELP = 48
"""Columns that a description beside the others needs; with fewer it stands below them."""


class Row(NamedTuple):
    """One setting. takes: its words or its range; aliases: its other names; problem: what is wrong, if anything."""

    group: str
    name: str
    value: str | None
    source: str
    description: str
    takes: str
    aliases: tuple[str, ...]
    problem: str | None

    @property
    def text(self) -> str:
        """The description, what it takes, and the other names."""
        takes = f"{self.takes[:1].upper()}{self.takes[1:]}." if self.takes else ""
        others = f"Also: {', '.join(self.aliases)}." if self.aliases else ""
        return " ".join(filter(None, [self.description, takes, others]))


def print_rows(screen: Console, rows: Sequence[Row], *, descriptions: bool) -> None:
    """A table for each group. Descriptions stand beside the settings, or below them where the terminal is narrow."""
    from rich.padding import Padding
    from rich.text import Text

    groups = [list(members) for _, members in groupby(rows, lambda row: row.group)]
    width = screen.width - _GAP
    beside = all(_room(group, width) - _WIDEST_VALUE - _GAP >= _NARROWEST_HELP for group in groups)
    for group in groups:
        screen.print(Text(group[0].group, "bold"))
        for renderable in _lines(group, width, beside=descriptions and beside, own_lines=descriptions and not beside):
            for line in screen.render_lines(Padding(renderable, (0, 0, 0, _GAP), expand=False), pad=False):
                text = Text.assemble(*((segment.text, segment.style or "") for segment in line))
                text.rstrip()
                screen.print(text)
        screen.print()


def _room(rows: Sequence[Row], width: int) -> int:
    """Columns that the names and sources leave for values and descriptions."""
    return width - max(len(row.name) for row in rows) - _source_width(rows) - 2 * _GAP


def _source_width(rows: Sequence[Row]) -> int:
    return min(max(len(row.source) for row in rows), _WIDEST_SOURCE)


def _lines(rows: Sequence[Row], width: int, *, beside: bool, own_lines: bool) -> Iterator[RenderableType]:
    """What is printed of one group, a row at a time, all rows in the same columns.

    Args:
        beside, own_lines: where descriptions stand; nowhere with neither.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    room = _room(rows, width)
    value = min(max(len(row.value or "-") for row in rows), max(room, _LEAST))
    if beside:
        value = min(value, max(_WIDEST_VALUE, room - _GAP - max(len(row.text) for row in rows)))
    for row in rows:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
        for column in (max(len(row.name) for row in rows), value, _source_width(rows)):
            table.add_column(width=column, overflow="fold")
        table.add_column(overflow="fold")
        dim = "dim" if row.source == "default" else ""
        cells = [Text(row.name), Text(row.value or "-", "red" if row.problem else dim), Text(row.source, dim)]
        table.add_row(*cells, Text(row.text if beside else "", "dim"))
        yield table
        if own_lines and row.text:
            yield Padding(Text(row.text, "dim"), (0, 0, 0, _INDENT))
