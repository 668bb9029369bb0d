"""Settings: where they come from, the models that read them, and what is said of a wrong one."""

from __future__ import annotations

from .base import CommaList, Setting, Settings, SettingsGroup, check_unknown, comma_list
from .environment import Environment, Layer, read_mapping
from .files import FilePath, read_bytes, read_text
from .flags import Flag, FlagTable, Variables, version_beside, version_numbers
from .rules import FlagRule, FlagValues, broken_rules
from .suggestions import suggest
from .worker import WorkerSettings

__all__ = [
    "CommaList",
    "Environment",
    "FilePath",
    "Flag",
    "FlagRule",
    "FlagTable",
    "FlagValues",
    "Layer",
    "Setting",
    "Settings",
    "SettingsGroup",
    "Variables",
    "WorkerSettings",
    "broken_rules",
    "check_unknown",
    "comma_list",
    "read_bytes",
    "read_mapping",
    "read_text",
    "suggest",
    "version_beside",
    "version_numbers",
]
