"""What is installed: engines and doors by name, found through entry points, and the way from settings to an engine.

Engines are entry points in the group `engineroom.engines` (stevedore), the doors' settings in
`engineroom.door_settings`, so that the core can name every setting without importing a door.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from .engine import Engine
from .errors import PluginError, Problems
from .settings.base import SettingsGroup, check_unknown, comma_list
from .settings.environment import Environment
from .settings.suggestions import suggest
from .settings.worker import WorkerSettings

ENGINES = "engineroom.engines"
DOOR_SETTINGS = "engineroom.door_settings"

Door = TypeVar("Door")
"""A door's own settings."""


@dataclass(frozen=True, slots=True)
class Setup(Generic[Door]):
    """An engine, not yet started, and what it and the door were configured from.

    door: the door's own settings.
    env: with the engine's aliases and defaults applied.
    """

    engine: Engine
    worker: WorkerSettings
    door: Door
    env: Environment

    def new_engine(self) -> Engine:
        """Another engine of the same settings, to start in the place of one that has died."""
        return type(self.engine).configure(self.worker, self.env)


def engine_names(only: Sequence[str] = ()) -> list[str]:
    """The engines installed, sorted; none is imported.

    Args:
        only: where given, the engines that may load.

    Raises:
        PluginError: two packages provide an engine of the same name.
    """
    by_name: dict[str, EntryPoint] = {}
    for point in _entry_points():
        if only and point.name not in only:
            continue
        other = by_name.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two packages provide the engine {point.name!r}: {_origin(other)} and {_origin(point)}; "
                "uninstall one of them"
            )
    return sorted(by_name)


def load_engine(name: str | None, only: Sequence[str] = ()) -> type[Engine]:
    """The engine class called `name`; with None the only one there is.

    Raises:
        PluginError: it is not installed, may not load, is broken, or there is none or more than one to choose.
    """
    from stevedore import DriverManager

    installed = engine_names(only)
    if name is None:
        name = _only_one(installed)
    if name not in installed:
        raise PluginError(_not_installed(name, installed, only))
    plugin = DriverManager[type[Engine]](ENGINES, name, on_load_failure_callback=_broken).extensions[0].plugin
    if not (isinstance(plugin, type) and issubclass(plugin, Engine)):
        raise PluginError(f"the engine {name!r} ({plugin!r}) is not an engineroom Engine")
    return plugin


def engine_class(env: Environment) -> tuple[type[Engine], Environment]:
    """The engine that the environment asks for, and the environment with that engine's aliases and defaults.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
    """
    engine = load_engine(env.get("ENGINE"), comma_list(env.get("ENGINEROOM_ENGINES", "")))
    return engine, env.with_aliases(engine.aliases).with_defaults(engine.defaults)


def door_settings() -> list[SettingsGroup]:
    """The settings groups of all installed doors, by the entry points' names."""
    return [point.load() for point in sorted(entry_points(group=DOOR_SETTINGS), key=lambda point: point.name)]


def settings_groups(engine: type[Engine], env: Environment) -> list[SettingsGroup]:
    """Every group of settings that is understood with this engine: the worker's, the doors', the engine's."""
    return [WorkerSettings, *door_settings(), *engine.settings(env)]


def set_up(env: Environment, load_door: Callable[[WorkerSettings, Environment], Door]) -> Setup[Door]:
    """Read every setting once, and configure the engine from them.

    Args:
        load_door: reads the door's own settings, given the worker's and the environment with the engine's aliases and
            defaults; raises SettingsError.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's, the engine's and the door's settings, unknown names included.
    """
    engine_type, env = engine_class(env)
    problems = Problems()
    problems.extend(check_unknown(env, settings_groups(engine_type, env), engine_type.aliases))
    worker = WorkerSettings.load_valid(env, problems)
    engines: list[Engine] = problems.collect(lambda: [engine_type.configure(worker, env)], [])
    doors: list[Door] = problems.collect(lambda: [load_door(worker, env)], [])
    problems.check()
    return Setup(engines[0], worker, doors[0], env)


def open_engine(env: Environment) -> Engine:
    """The configured engine, not yet started, where there is no door: in a test, or in a program that embeds it.

    Raises:
        PluginError: there is no such engine, or it cannot be loaded.
        SettingsError: with every problem of the core's and the engine's settings, unknown names included.
    """
    return set_up(env, lambda worker, env: None).engine


def _entry_points() -> Sequence[EntryPoint]:
    return tuple(entry_points(group=ENGINES))


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _only_one(installed: Sequence[str]) -> str:
    if len(installed) == 1:
        return installed[0]
    if installed:
        raise PluginError(f"several engines are installed; set ENGINE to one of: {', '.join(installed)}")
    raise PluginError("no engine is installed; `pip install engineroom-<engine>` installs one")


def _not_installed(name: str, installed: Sequence[str], only: Sequence[str]) -> str:
    if only and name not in only:
        return f"ENGINE={name} may not be loaded: ENGINEROOM_ENGINES allows only {', '.join(only)}"
    meant = suggest(name, installed)
    hint = f"did you mean {meant}?" if meant else f"`pip install engineroom-{name}` may install it"
    return f"no engine called {name!r} is installed (installed: {', '.join(installed) or 'none'}); {hint}"


def _broken(manager: object, point: EntryPoint, error: BaseException) -> None:
    package = point.dist.name if point.dist else point.module
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    what = f"it needs the module {missing!r}" if missing else f"{type(error).__name__}: {error}"
    raise PluginError(
        f"the engine {point.name!r} of {package} cannot be loaded: {what}; `pip install --force-reinstall {package}`"
    ) from error
