"""Settings: where they come from, the models that read them, and what is said of a wrong one."""

from __future__ import annotations

from . import usual_settings
from .base import CommaList, Setting, Settings, SettingsGroup, comma_list
from .environment import Environment, Layer, read_mapping
from .files import FilePath, read_bytes, read_text
from .flags import Flag, FlagsAside, FlagTable, Variables, of_other_versions, version_beside, version_numbers
from .json_values import parse_json
from .known_names import KnownNames
from .name_check import NameCheck, Notice
from .other_names import OtherName, UsualSetting, doubted, dropped, refused, taken
from .rules import FlagRule, FlagValues, broken_rules
from .suggestions import suggest
from .values import without_user_info
from .worker import WorkerSettings

__all__ = [
    "CommaList",
    "Environment",
    "FilePath",
    "Flag",
    "FlagRule",
    "FlagTable",
    "FlagValues",
    "FlagsAside",
    "KnownNames",
    "Layer",
    "NameCheck",
    "Notice",
    "OtherName",
    "Setting",
    "Settings",
    "SettingsGroup",
    "UsualSetting",
    "Variables",
    "WorkerSettings",
    "broken_rules",
    "comma_list",
    "doubted",
    "dropped",
    "of_other_versions",
    "parse_json",
    "read_bytes",
    "read_mapping",
    "read_text",
    "refused",
    "suggest",
    "taken",
    "usual_settings",
    "version_beside",
    "version_numbers",
    "without_user_info",
]
