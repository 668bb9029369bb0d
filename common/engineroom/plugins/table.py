"""The way from a table of several models to what runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..engine import Engine
from ..errors import PluginError, Problem, Problems, SettingsError
from ..models.hub import HubError
from ..residence.entries import ModelEntry, read_entries
from ..residence.settings import ResidenceSettings
from ..settings.base import SettingsGroup
from ..settings.environment import Environment
from ..settings.known_names import KnownNames
from ..settings.name_check import NameCheck, Notice
from ..settings.worker import WorkerSettings
from .engines import engine_names
from .groups import Doors, belongs, door_groups, door_settings
from .recognition import recognise
from .setup import Door, EngineChoice, Setup, configured

_OF_ONE_MODEL = ("MODEL_NAME", "OPENAI_SERVED_MODEL_NAME_OVERRIDE", "SERVED_MODEL_NAME")


_OF_THE_WORKER = {"ENGINEROOM_ENGINES", "LOG_FORMAT", "LOG_LEVEL", "MAX_REQUEST_MB"}
"""Settings of `WorkerSettings` that are not an engine's own, so that an entry cannot have others than the worker."""


Noted = TypeVar("Noted", Problem, Notice)


class _TableEntry(NamedTuple):
    """An entry with its engine, and what became of the names in its environment."""

    entry: ModelEntry
    choice: EngineChoice
    engine: Engine | None
    names: KnownNames
    checked: NameCheck
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]

    def heeds(self, name: str) -> bool:
        """Whether a name in the worker's own environment means something to the entry's engine, and is granted."""
        refused = [problem.variable for problem in self.problems]
        passed_over = [notice.variable for notice in self.checked.warnings]
        return self.names.knows(name) and name not in (*refused, *passed_over)


def set_up_table(
    env: Environment, load_door: Callable[[WorkerSettings, Environment, NameCheck], Door], door: Doors
) -> Setup[Door]:
    """As `set_up`, of several models."""
    from ..residence.engines import ConfiguredModel
    from ..residence.estimates import gpu_share, weights_size
    from ..residence.machine_memory import machine_memory
    from ..residence.resident_models import ResidentModels

    problems = Problems()
    doors = door_groups()
    idle = [group for name, group in doors.items() if not belongs(name, door)]
    shared = KnownNames([WorkerSettings, ResidenceSettings, *doors.values()], idle=idle, engines=engine_names())
    env = shared.apply(env)
    for name in _OF_ONE_MODEL:
        if name in env:
            message = "is of one model, and MODELS has several: put it into the table, or unset MODELS"
            problems.add(name, message, env.source(name))
    worker = WorkerSettings.load_valid(env, problems)
    residence = ResidenceSettings.load_valid(env, problems)
    entries = read_entries(residence, env, problems)
    table = [_table_entry(entry, env, door, problems) for entry in entries]
    rows = [row for row in table if row is not None]
    checked = _of_all(shared.check(env), rows)
    problems.extend(checked.problems)
    loaded: list[Door] = problems.collect(lambda: [load_door(worker, env, checked)], [])
    problems.check()
    models = [
        ConfiguredModel(
            row.entry,
            row.choice.engine.name,
            row.choice.make,
            row.choice.safer,
            weights_size(row.choice.engine, row.choice.env),
            gpu_share(row.choice.engine, row.choice.env),
        )
        for row in rows
    ]

    def resident_models(first: Mapping[str, Engine]) -> ResidentModels:
        return ResidentModels(models, first, residence, machine_memory({**os.environ, **env}), worker.max_body)

    engine = resident_models({row.entry.name: row.engine for row in rows if row.engine is not None})
    notes = tuple(f"{row.entry.name}: {note}" for row in rows for note in row.notes)
    choices = tuple(row.choice for row in rows)
    return Setup(
        engine,
        worker,
        loaded[0],
        env,
        checked,
        choices,
        lambda: resident_models({model.entry.name: model.make() for model in models}),
        notes,
    )


def table_choices(env: Environment) -> list[EngineChoice]:
    """The engines of a table of several models, as far as they can be read; none where there is no table."""
    if not env.get("MODELS"):
        return []
    ignored = Problems()
    residence = ResidenceSettings.load_valid(env, ignored)
    rows = [_table_entry(entry, env, None, ignored) for entry in read_entries(residence, env, ignored)]
    return [row.choice for row in rows if row is not None]


def _table_entry(entry: ModelEntry, env: Environment, door: Doors, problems: Problems) -> _TableEntry | None:
    """An entry with its engine; None where there is none to be had, with a problem that says why."""
    served = json.dumps([*entry.names])
    values = {"OPENAI_SERVED_MODEL_NAME_OVERRIDE": served, **entry.settings}
    own = Problems()
    row: _TableEntry | None = None
    try:
        engine_type, entry_env, names, notes = recognise(env.with_arguments(values, entry.place), door)
    except SettingsError as error:
        own.extend(error.problems)
    except (PluginError, HubError) as error:
        variable = "ENGINE" if isinstance(error, PluginError) else "MODEL_NAME"
        elsewhere = variable not in entry.settings and variable in env
        own.add(variable, str(error).removeprefix(f"{variable}: "), env.source(variable) if elsewhere else "")
    else:
        checked = names.check(entry_env)
        of_entry = [problem for problem in checked.problems if problem.source.startswith(entry.place)]
        own.extend(entry.near_own_key(problem) for problem in of_entry)
        # In a table everything is meant for us: what would be a warning elsewhere is a mistake here.
        unheeded = [notice for notice in checked.warnings if notice.source.startswith(entry.place)]
        own.extend(entry.near_own_key(Problem(each.variable, each.message, each.source)) for each in unheeded)
        _check_whose(entry, names, own)
        choice = EngineChoice(engine_type, WorkerSettings.load_valid(entry_env, own), entry_env, entry.place)
        engine = configured(choice, own)
        others = tuple(problem for problem in checked.problems if problem not in of_entry)
        row = _TableEntry(entry, choice, engine, names, checked, notes, others)
    problems.extend(entry.located(problem) for problem in own)
    return row


def _check_whose(entry: ModelEntry, names: KnownNames, problems: Problems) -> None:
    """That an entry sets nothing that is the whole worker's."""
    groups: list[SettingsGroup] = [ResidenceSettings, *door_settings()]
    of_worker = {name for group in groups for setting in group.describe() for name in setting.names} | _OF_THE_WORKER
    for variable in entry.settings:
        setting = names.meaning_of(variable)
        if setting in of_worker:
            message = "is a setting of the whole worker, not of one model: set it beside the table"
            problems.add(variable, message, entry.place)


def _of_all(shared: NameCheck, rows: Sequence[_TableEntry]) -> NameCheck:
    """What became of the names in the worker's own environment: what is wrong with one counts where no engine heeds
    it."""
    if not rows:
        return shared

    def in_no_engine(noted: Iterable[Noted]) -> list[Noted]:
        unheeded = [each for each in noted if not any(row.heeds(each.variable) for row in rows)]
        return list({each.variable: each for each in reversed(unheeded)}.values())

    problems = in_no_engine([*shared.problems, *(problem for row in rows for problem in row.problems)])
    notices = in_no_engine([n for row in rows for n in row.checked.notices if not n.source.startswith(row.entry.place)])
    return NameCheck(problems, notices, shared.idle)
