"""The doors' settings, found through entry points in the group `engineroom.door_settings`.

So the core can name every setting without importing a door.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from .settings import SettingsGroup

GROUP = "engineroom.door_settings"


def door_groups() -> list[SettingsGroup]:
    """The settings groups of all installed doors, by the entry points' names."""
    return [point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
