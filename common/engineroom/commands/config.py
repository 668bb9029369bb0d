"""`engineroom config`: every setting, what is in force, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engineroom.settings import Setting


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also the settings that are at their default.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def config(show_all: bool, as_json: bool) -> None:
    """Show the settings in force and where each comes from; check them.

    Secrets are masked. Exits with 2 where a setting is wrong, and says which.
    """
    from engineroom import house
    from engineroom.environment import Environment

    env = Environment.load()
    found, seen = house.engine_class(env)
    groups = house.groups(found, seen)

    def row(setting: Setting) -> tuple[str | None, str]:
        value, source = setting.in_force(seen)
        return ("********" if setting.secret and value else value), source

    shown = [
        (group.title, setting, *row(setting))
        for group in groups
        for setting in group.describe()
        if show_all or row(setting)[1] != "default"
    ]
    if as_json:
        import json

        rows = [{"name": s.name, "value": value, "source": source, "group": title} for title, s, value, source in shown]
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(found.name, shown)
    house.open_engine(env)


def _print(engine: str, shown: Sequence[tuple[str, Setting, str | None, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"engine [bold]{engine}[/bold]")
    table = Table("setting", "value", "from", "group", box=None, pad_edge=False)
    for title, setting, value, source in shown:
        table.add_row(setting.name, "[dim]-[/dim]" if value is None else value, source, f"[dim]{title}[/dim]")
    console.print(table if shown else "Everything is at its default; `engineroom config --all` shows it.")
