"""`engineroom engines`: which engines are installed, what each can do and needs, and whether that is there."""

from __future__ import annotations

import click


@click.command()
def engines() -> None:
    """List the engines, and whether each can run here.

    For each it says what it can do with the right model, what it needs, and what to do where that is missing.
    """
    from rich.markup import escape
    from rich.table import Table

    from ..errors import PluginError
    from ..plugins.engines import engine_names, load_engine, no_engine
    from ..plugins.groups import understood
    from ..settings.base import comma_list
    from ..settings.environment import Environment
    from .screen import console

    env = Environment.load()
    only = comma_list(env.get("ENGINEROOM_ENGINES", ""))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("engine", no_wrap=True)
    for title in ("what it is", "can do", "needs"):
        table.add_column(title, overflow="fold", ratio=1)
    for name in engine_names(only):
        try:
            engine = load_engine(name, only)
        except PluginError as error:
            table.add_row(name, "", "", f"[red]broken[/red]: {escape(str(error))}")
            continue
        needs = [
            f"[green]✓[/green] {escape(need.what)}"
            if need.met
            else f"[red]✗[/red] {escape(f'{need.what}: {need.remedy}')}"
            for need in engine.requirements(understood(engine, env))
        ]
        needs = needs or ["[green]✓[/green] nothing"]
        can_do = ", ".join(engine.capabilities.words())
        if engine.capabilities.assumed:
            can_do = "what its server can do"
        table.add_row(f"[bold]{name}[/bold]", engine.summary.rstrip("."), can_do, "\n".join(needs))
    console().print(table if table.row_count else escape(no_engine()))
