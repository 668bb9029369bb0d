"""The way from settings to an engine."""

from __future__ import annotations

from collections.abc import Callable

from ..engine import RunningEngine
from ..errors import PluginError, Problems
from ..models.hub import HubError
from ..settings.base import Settings
from ..settings.environment import Environment
from ..settings.name_check import NameCheck
from ..settings.worker import WorkerSettings
from .groups import Doors, door_settings
from .recognition import recognise
from .setup import Door, EngineChoice, Setup, configured
from .table import set_up_table


def set_up(
    env: Environment, load_door: Callable[[WorkerSettings, Environment, NameCheck], Door], door: Doors = None
) -> Setup[Door]:
    """Read every setting once, and configure the engine from them.

    Args:
        load_door: reads the door's own settings, given the worker's, the environment with other programs' names and
            the engine's defaults, and what became of the names in it; raises SettingsError.
        door: the name under which the door's settings are registered, or None for no door in particular.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's, the engine's and the door's settings, unknown names included.
    """
    if env.get("MODELS"):
        return set_up_table(env, load_door, door)
    engine_type, env, names, notes = recognise(env, door)
    checked = names.check(env)
    problems = Problems()
    problems.extend(checked.problems)
    worker = WorkerSettings.load_valid(env, problems)
    choice = EngineChoice(engine_type, worker, env)
    engine = configured(choice, problems)
    doors: list[Door] = problems.collect(lambda: [load_door(worker, env, checked)], [])
    problems.check()
    assert engine is not None
    return Setup(engine, worker, doors[0], env, checked, (choice,), choice.make, notes)


def check(env: Environment) -> Setup[list[Settings]]:
    """Check whatever a start would check before it loads a model, for each of the doors that are installed.

    Raises:
        SettingsError: with every problem; that the engine cannot be loaded is one of them, under ENGINE, and that none
            can be chosen for the model, under MODEL_NAME.
    """
    try:
        return set_up(env, _load_doors)
    except (PluginError, HubError) as error:
        problems = Problems()
        WorkerSettings.load_valid(env, problems)
        _read_doors(env, problems)
        variable = "ENGINE" if isinstance(error, PluginError) else "MODEL_NAME"
        message = str(error).removeprefix(f"{variable}: ")
        problems.add(variable, message, env.source(variable) if variable in env else "")
        problems.check()
        raise


def open_engine(env: Environment) -> RunningEngine:
    """The configured engine, not yet started, where there is no door: in a test, or in a program that embeds it.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's and the engine's settings, unknown names included.
    """
    setup = set_up(env, lambda worker, env, names: None)
    setup.log_notes()
    return setup.engine


def _load_doors(worker: WorkerSettings, env: Environment, names: NameCheck) -> list[Settings]:
    """The settings of every door that is installed. Raises SettingsError with what is wrong in any of them."""
    problems = Problems()
    settings = _read_doors(env, problems)
    for group in settings:
        problems.extend(group.check_names(env, names))
    problems.check()
    return settings


def _read_doors(env: Environment, problems: Problems) -> list[Settings]:
    groups = [group for group in door_settings() if isinstance(group, type) and issubclass(group, Settings)]
    return [group.load_valid(env, problems) for group in groups]
