"""`engineroom config`: every setting, what is in force, where it comes from, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import PluginError, Problem, SettingsError
from ..models.hub import HubError
from ..settings.known_names import KnownNames
from ..settings.name_check import NameCheck
from ..settings.values import without_user_info
from ..settings.worker import WorkerSettings
from .setting_options import SettingsCommand
from .settings_table import Row, print_rows

if TYPE_CHECKING:
    from ..engine import Engine
    from ..plugins.setup import EngineChoice
    from ..settings.base import SettingsGroup
    from ..settings.environment import Environment

_NAMED_BY_THE_TITLE = ("ENGINE", "OPENAI_SERVED_MODEL_NAME_OVERRIDE")


@click.command(cls=SettingsCommand)
@click.option("--all", "show_all", is_flag=True, help="Also list the settings that are at their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def config(settings: Mapping[str, str], show_all: bool, as_json: bool) -> None:
    """Show the settings in force and where each comes from.

    Checks them, too, as a start would before it loads a model, for every door: the exit code is 2 if one is wrong,
    and the error says which. Secrets are masked. Settings may be given as options, as to `engineroom serve`.
    """
    from ..plugins.groups import common_settings, known_names, settings_groups
    from ..plugins.reading import check
    from ..plugins.recognition import engine_class
    from ..plugins.table import table_choices
    from ..settings.environment import Environment

    env = Environment.load().with_arguments(settings)
    problems: Sequence[Problem] = ()
    engine: type[Engine] | None = None
    seen = env
    groups: Sequence[SettingsGroup] = common_settings()
    table: Sequence[EngineChoice] = ()
    of_table = NameCheck((), (), ())
    try:
        setup = check(env)
        if setup.has_table:
            table = setup.choices
            of_table = setup.names
    except SettingsError as error:
        problems = error.problems
        table = table_choices(env)
    try:
        if not env.get("MODELS"):
            engine, seen = engine_class(env)
            groups = settings_groups(engine, seen)
    except (PluginError, HubError):
        pass  # It is one of the problems.
    names = known_names(engine, seen) if engine is not None else KnownNames(groups)
    checked = of_table if env.get("MODELS") else names.check(seen)
    rows = [*_rows(groups, seen, names, problems), *_table_rows(table), *_without_effect(checked)]
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
        elif table:
            screen.print(f"{len(table)} models\n")
        print_rows(screen, shown, descriptions=show_all)
        if more := len(rows) - len(shown):
            screen.print(f"[dim]{more} settings are at their defaults: `engineroom config --all` lists them.[/dim]")
        for need in engine.requirements(seen) if engine is not None else ():
            if not need.met:
                screen.print(Text.assemble(("not on this machine: ", "yellow"), f"{need.what} ({need.remedy})"))
        if problems:
            screen.print()
    if problems:
        raise SettingsError(problems)


def _rows(
    groups: Sequence[SettingsGroup], env: Environment, names: KnownNames, problems: Sequence[Problem]
) -> Iterator[Row]:
    """A row for each setting.

    Args:
        env: with other programs' names and the engine's defaults applied.
    """
    wrong = {problem.variable: problem.message for problem in problems}
    for group in groups:
        for setting in group.describe():
            others = (*setting.aliases, *names.taken_as(setting.name))
            value, source = setting.in_force(env)
            yield Row(
                group.title,
                setting.name,
                "********" if value and setting.hides(value) else value and without_user_info(value),
                source,
                " ".join(setting.help.split()),
                f"one of {', '.join(setting.choices)}" if setting.choices else setting.limits,
                others,
                next((wrong[name] for name in (setting.name, *others) if name in wrong), None),
            )


def _table_rows(table: Sequence[EngineChoice]) -> Iterator[Row]:
    """A row for each setting that an entry of the table has, by its place there."""
    for choice in table:
        title = f"{choice.place}: {choice.worker.served_model_name[0]} on {choice.engine.name}"
        groups: list[SettingsGroup] = [WorkerSettings, *choice.engine.settings(choice.env)]
        for group in groups:
            for setting in group.describe():
                value, source = setting.in_force(choice.env)
                if not value or not source.startswith(choice.place) or setting.name in _NAMED_BY_THE_TITLE:
                    continue
                shown = "********" if setting.secret else without_user_info(value)
                yield Row(title, setting.name, shown, source, " ".join(setting.help.split()), setting.limits, (), None)


def _without_effect(checked: NameCheck) -> Iterator[Row]:
    """A row for each variable that means something elsewhere. Its value may be another program's secret."""
    for notice in checked.warnings:
        yield Row("Without effect", notice.variable, "********", notice.source, notice.message, "", (), None)
