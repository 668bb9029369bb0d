"""From the environment to a configured engine: the one way in for every door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import registry
from .doors import door_groups
from .environment import Environment
from .errors import SettingsError
from .settings import SettingsGroup, WorkerSettings, check_unknown

if TYPE_CHECKING:
    from .engine import Engine


def engine_class(env: Environment) -> tuple[type[Engine], Environment]:
    """The engine that the environment asks for, and the environment with that engine's aliases and defaults.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
    """
    from .settings import comma_list

    found = registry.load(env.get("ENGINE"), comma_list(env.get("ENGINEROOM_ENGINES", "")))
    return found, env.with_aliases(found.aliases).with_defaults(found.defaults)


def groups(found: type[Engine], env: Environment) -> list[SettingsGroup]:
    """Every group of settings that is understood with this engine: the worker's, the doors', the engine's."""
    return [WorkerSettings, *door_groups(), *found.settings(env)]


def open_engine(env: Environment) -> Engine:
    """The configured engine, not yet started.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's and the engine's settings, unknown names included.
    """
    found, env = engine_class(env)
    problems = check_unknown(env, groups(found, env), found.aliases)
    engine = None
    try:
        WorkerSettings.load(env)
    except SettingsError as error:
        problems += error.problems
    try:
        engine = found.configure(env)
    except SettingsError as error:
        problems += [problem for problem in error.problems if problem not in problems]
    if problems or engine is None:
        raise SettingsError(problems)
    return engine
