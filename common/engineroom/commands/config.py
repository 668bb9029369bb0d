"""`engineroom config`: every setting, what is in force, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from rich.console import Console

_GAP = 2
_LEAST = 8
_WIDEST_SOURCE = 24
_WIDEST_VALUE = 24
"""With descriptions beside them, longer values are folded."""

_NARROWEST_HELP = 36
"""Columns below which a description would be a tower of single words."""


class _Row(NamedTuple):
    group: str
    name: str
    value: str | None
    source: str
    description: str


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also list the settings that are at their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def config(show_all: bool, as_json: bool) -> None:
    """Show the settings in force and where each comes from.

    Checks them, too: the exit code is 2 if one is wrong, and the error says which. Secrets are masked.
    """
    from engineroom import plugins
    from engineroom.settings.environment import Environment

    env = Environment.load()
    engine, seen = plugins.engine_class(env)
    rows = []
    for group in plugins.settings_groups(engine, seen):
        for setting in group.describe():
            value, source = setting.in_force(seen)
            masked = "********" if setting.secret and value else value
            rows.append(_Row(group.title, setting.name, masked, source, " ".join(setting.help.split())))
    shown = [row for row in rows if show_all or row.source != "default"]
    if as_json:
        import json

        click.echo(json.dumps([row._asdict() for row in shown], indent=2))
    else:
        from .screen import console

        screen = console()
        screen.print(f"engine: [bold]{engine.name}[/bold]\n")
        _print(screen, shown, descriptions=show_all)
        if more := len(rows) - len(shown):
            screen.print(f"[dim]{more} settings are at their defaults: `engineroom config --all` lists them.[/dim]")
    plugins.open_engine(env)


def _print(screen: Console, rows: Sequence[_Row], *, descriptions: bool) -> None:
    """A table for each group, with a column of descriptions where that fits."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    wanted = 0
    for title, members in groupby(rows, lambda row: row.group):
        group = list(members)
        described = descriptions and any(row.description for row in group)
        widths, needed = _widths(group, screen.width, described=described)
        wanted = max(wanted, needed)
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
        for width in widths:
            table.add_column(width=width, overflow="fold")
        table.add_column(overflow="fold")
        for row in group:
            dim = "dim" if row.source == "default" else ""
            cells = [Text(row.name), Text(row.value or "-", dim), Text(row.source, dim)]
            table.add_row(*cells, *([Text(row.description, "dim")] if described and needed <= screen.width else []))
        screen.print(Text(title, "bold"))
        for line in screen.render_lines(Padding(table, (0, 0, 0, _GAP), expand=False), pad=False):
            text = Text.assemble(*((segment.text, segment.style or "") for segment in line))
            text.rstrip()
            screen.print(text)
        screen.print()
    if wanted > screen.width:
        screen.print(f"[dim]From {wanted} columns on, and in a pipe, descriptions are shown, too.[/dim]")


def _widths(group: Sequence[_Row], width: int, *, described: bool) -> tuple[list[int], int]:
    """The widths of name, value and source, and how many columns are needed for descriptions beside them."""
    name = max(len(row.name) for row in group)
    source = min(max(len(row.source) for row in group), _WIDEST_SOURCE)
    value = max(len(row.value or "-") for row in group)
    around = name + source + 3 * _GAP
    if described:
        needed = around + min(value, _WIDEST_VALUE) + _GAP + _NARROWEST_HELP
        if needed <= width:
            value = min(value, width - around - _GAP - _NARROWEST_HELP)
        return [name, min(value, max(width - around, _LEAST)), source], needed
    return [name, min(value, max(width - around, _LEAST)), source], 0
