"""Groups of settings: the core's, the installed doors' and an engine's, and the names by which they can be set.

The doors' are entry points, so that the core can name every setting without importing a door.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..engine import Engine
from ..installation import entry_points_of
from ..residence.settings import ResidenceSettings
from ..settings.base import SettingsGroup
from ..settings.environment import Environment
from ..settings.known_names import KnownNames
from ..settings.usual_settings import USUAL_SETTINGS
from ..settings.worker import WorkerSettings
from .engines import engine_names
from .versions import check_version

DOOR_SETTINGS = "engineroom.door_settings"


Doors: TypeAlias = str | Sequence[str] | None
"""The door that is opened; several where one has another's layers in it, and any with None."""

SHARED = ("doors", "start")
"""Entry points of that group whose settings are every door's."""


def door_settings(door: Doors = None) -> list[SettingsGroup]:
    """The settings groups of all installed doors, by the entry points' names; or of one door, with what all share."""
    return [group for name, group in door_groups().items() if belongs(name, door)]


def common_settings() -> list[SettingsGroup]:
    """The groups of settings that are understood with every engine: the worker's and the doors'."""
    return [WorkerSettings, ResidenceSettings, *door_settings()]


def settings_groups(engine: type[Engine], env: Environment, door: Doors = None) -> list[SettingsGroup]:
    """Every group of settings that is understood with this engine: the worker's, the doors', the engine's.

    Args:
        door: leave out what belongs to other doors.
    """
    return [WorkerSettings, ResidenceSettings, *door_settings(door), *engine.settings(env)]


def known_names(engine: type[Engine], env: Environment, door: Doors = None) -> KnownNames:
    """Every name by which something can be set with this engine.

    Args:
        door: the door that is opened; what belongs to others has no effect. All of them where None.
    """
    doors = door_groups()
    groups: list[SettingsGroup] = [WorkerSettings, ResidenceSettings, *doors.values(), *engine.settings(env)]
    idle = [group for name, group in doors.items() if not belongs(name, door)]
    tables = [usual.table(engine.usual_settings.get(usual)) for usual in USUAL_SETTINGS]
    return KnownNames(
        groups,
        [*tables, engine.other_names],
        engines=engine_names(),
        namespaces=engine.namespaces,
        idle=idle,
        unset=engine.unset_values(env),
    )


def understood(engine: type[Engine], env: Environment) -> Environment:
    """The environment with other programs' names and an engine's defaults applied."""
    return known_names(engine, env).apply(env).with_defaults(engine.defaults)


def door_groups() -> dict[str, SettingsGroup]:
    """Every door's settings groups, by the entry points' names, sorted."""
    points = sorted(entry_points_of(DOOR_SETTINGS), key=lambda point: point.name)
    # Not by the distribution's name, which is read from a file each time.
    for point in {point.dist: point for point in points if point.dist}.values():
        check_version(point)
    return {point.name: point.load() for point in points}


def belongs(name: str, door: Doors) -> bool:
    """Whether an entry point's settings are of a door, or of all; of any door with None."""
    doors = (door,) if isinstance(door, str) else door
    return doors is None or name.partition("_")[0] in (*doors, *SHARED)
