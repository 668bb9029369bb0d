"""`engineroom config`: every setting, what is in force, where it comes from, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import Problem, SettingsError
from .settings_table import Row, print_rows

if TYPE_CHECKING:
    from ..engine import Engine
    from ..settings.base import SettingsGroup
    from ..settings.environment import Environment


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also list the settings that are at their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def config(show_all: bool, as_json: bool) -> None:
    """Show the settings in force and where each comes from.

    Checks them, too, as a start would before it loads a model, for every door: the exit code is 2 if one is wrong,
    and the error says which. Secrets are masked.
    """
    from .. import plugins
    from ..settings.environment import Environment

    env = Environment.load()
    problems: Sequence[Problem] = ()
    engine: type[Engine] | None = None
    seen = env
    groups: Sequence[SettingsGroup] = plugins.common_settings()
    try:
        plugins.check(env)
    except SettingsError as error:
        problems = error.problems
    if not any(problem.variable == "ENGINE" for problem in problems):
        engine, seen = plugins.engine_class(env)
        groups = plugins.settings_groups(engine, seen)
    rows = list(_rows(groups, env, seen, engine.aliases if engine else {}, problems))
    shown = [row for row in rows if show_all or row.problem or row.source != "default"]
    if as_json:
        import json

        click.echo(json.dumps([row._asdict() for row in shown], indent=2))
    else:
        from rich.text import Text

        from .screen import console

        screen = console()
        if engine is not None:
            screen.print(f"engine: [bold]{engine.name}[/bold]\n")
        print_rows(screen, shown, descriptions=show_all)
        if more := len(rows) - len(shown):
            screen.print(f"[dim]{more} settings are at their defaults: `engineroom config --all` lists them.[/dim]")
        for need in engine.requirements(seen) if engine is not None else ():
            if not need.met:
                screen.print(Text.assemble(("not on this machine: ", "yellow"), f"{need.what} ({need.remedy})"))
    if problems:
        raise SettingsError(problems)


def _rows(
    groups: Sequence[SettingsGroup],
    env: Environment,
    seen: Environment,
    aliases: Mapping[str, str],
    problems: Sequence[Problem],
) -> Iterator[Row]:
    """A row for each setting.

    Args:
        env: as the user wrote it.
        seen: the same with the engine's aliases and defaults.
        aliases: the engine's other names of settings.
    """
    wrong = {problem.variable: problem.message for problem in problems}
    for group in groups:
        for setting in group.describe():
            others = (*setting.aliases, *(old for old, new in aliases.items() if new == setting.name != old))
            value, source = setting.in_force(seen)
            alias = _alias_in_force(setting.names, others, source, env)
            yield Row(
                group.title,
                setting.name,
                "********" if setting.secret and value else value,
                f"{source} as {alias}" if alias else source,
                " ".join(setting.help.split()),
                f"one of {', '.join(setting.choices)}" if setting.choices else setting.limits,
                others,
                next((wrong[name] for name in (setting.name, *others) if name in wrong), None),
            )


def _alias_in_force(names: Sequence[str], aliases: Sequence[str], source: str, env: Environment) -> str | None:
    """The engine's other name under which the layer called `source` has a setting, None where it has it as its own."""
    for layer in env.layers:
        if layer.name == source and layer.lookup(names) is None:
            return layer.lookup(aliases)
    return None
