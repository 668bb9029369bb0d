"""The command line, and the core's own commands, which are entry points of the group `engineroom.commands`."""

from __future__ import annotations

from .setting_options import SettingsCommand

__all__ = ["SettingsCommand"]
