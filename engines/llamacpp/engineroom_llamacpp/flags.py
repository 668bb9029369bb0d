"""llama.cpp's flags as settings: the snapshot of its parser, other names for them, and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from engineroom.errors import Problem, SettingsError
from engineroom.settings import Environment, FlagTable, read_text

from .child import SUPPORTED

PARALLEL = 16
"""Slots, and so requests at the same time. llama.cpp's own default of 4 leaves a server mostly waiting."""

WARNINGS = 2
"""How much llama.cpp logs: warnings and errors. Its default, 3, is several lines for each request."""

_FILES = ("lora", "mmproj", "spec_draft_model")
_TEXTS = ("chat_template_file", "grammar_file", "json_schema_file")


class Snapshot(FlagTable, frozen=True, dict=True, kw_only=True):
    """aliases: llama.cpp's other names, `LLAMA_ARG_*` among them -> the flag's variable."""

    aliases: dict[str, str]


@cache
def snapshot() -> Snapshot:
    defaults = {"parallel": str(PARALLEL), "kv_unified": "true", "log_verbosity": str(WARNINGS)}
    return Snapshot.load(Path(__file__).with_name("flags.json")).with_defaults(defaults)


def read(env: Environment, *, library: bool) -> dict[str, Any]:
    """The flags that are set, and our defaults.

    Args:
        library: whether they are for xllamacpp, which has parameters for most of them only.

    Raises:
        SettingsError: with every value that llama.cpp would refuse, and every file that is missing.
    """
    values = snapshot().read(env)
    problems: list[Problem] = []
    for name in values.keys() & set(_TEXTS):
        try:
            read_text(Path(str(values[name])), name.upper())
        except SettingsError as error:
            problems += error.problems
    for name in values.keys() & set(_FILES):
        for path in str(values[name]).split(",") if name == "lora" else [str(values[name])]:
            if not Path(path).is_file():
                problems.append(Problem(name.upper(), f"there is no file {path}", env.source(name.upper())))
    if library:
        problems += [
            Problem(
                name.upper(), "the xllamacpp library has no such parameter; set LLAMA_SERVER to a llama-server binary"
            )
            for name in sorted(values.keys() - SUPPORTED)
        ]
    if problems:
        raise SettingsError(problems)
    return {"parallel": PARALLEL, "kv_unified": True, "log_verbosity": WARNINGS, **values}


def argv(values: Mapping[str, Any]) -> list[str]:
    """The command line; llama.cpp's parser takes a flag and its value as two arguments."""
    arguments = []
    for flag in snapshot().flags:
        if (value := values.get(flag.name)) is None:
            continue
        if flag.kind in ("bool", "switch"):
            arguments += flag.arguments(value)
        else:
            arguments += [flag.flags[0], str(value)]
    return arguments
