"""What is installed: engines and doors by name, and the way from settings to an engine.

Engines are entry points in the group `engineroom.engines`, the doors' settings in `engineroom.door_settings`.
"""

from .engines import ENGINES, engine_names, engines_for, load_engine, loadable, no_engine
from .groups import DOOR_SETTINGS, common_settings, door_settings, known_names, settings_groups, understood
from .model_check import model_problem
from .reading import check, open_engine, set_up
from .recognition import SELECTED, engine_class
from .setup import EngineChoice, Setup
from .table import table_choices

__all__ = [
    "DOOR_SETTINGS",
    "ENGINES",
    "SELECTED",
    "EngineChoice",
    "Setup",
    "check",
    "common_settings",
    "door_settings",
    "engine_class",
    "engine_names",
    "engines_for",
    "known_names",
    "load_engine",
    "loadable",
    "model_problem",
    "no_engine",
    "open_engine",
    "set_up",
    "settings_groups",
    "table_choices",
    "understood",
]
