"""`engineroom engines`: which engines are installed, what each needs, and whether it is there."""

from __future__ import annotations

import click


@click.command()
def engines() -> None:
    """List the engines, what each needs, and whether it is there."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from engineroom import registry
    from engineroom.environment import Environment
    from engineroom.errors import PluginError
    from engineroom.settings import comma_list

    env = Environment.load()
    only = comma_list(env.get("ENGINEROOM_ENGINES", ""))
    table = Table("engine", "what it is", "needs", box=None, pad_edge=False)
    for name in registry.names(only):
        try:
            engine = registry.load(name, only)
        except PluginError as error:
            table.add_row(name, "", f"[red]broken[/red]: {escape(str(error))}")
            continue
        needs = [
            f"[green]✓[/green] {escape(need.what)}"
            if need.met
            else f"[red]✗[/red] {escape(f'{need.what}: {need.remedy}')}"
            for need in engine.requirements(env.with_aliases(engine.aliases).with_defaults(engine.defaults))
        ]
        table.add_row(f"[bold]{name}[/bold]", engine.summary, "\n".join(needs) or "[green]✓[/green] nothing")
    Console().print(table if table.row_count else "No engine is installed: `pip install engineroom-<engine>`.")
