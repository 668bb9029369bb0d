"""Recordings of starts that failed, as engines' `tools/record_start_failures.py` make them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engineroom.server import Diagnostics, Situation, diagnose

ORDINARY = 50
"""Lines of an engine's ordinary doings around a recording."""


@dataclass(frozen=True)
class Recording:
    """One start that failed.

    lines: what the engine's process wrote.
    code: its exit code.
    settings: those that the start was given.
    """

    lines: tuple[str, ...]
    code: int
    settings: Mapping[str, str]


def recording(file: Path) -> Recording:
    head: dict[str, object] = {}
    lines = file.read_text().splitlines()
    while lines and lines[0].startswith("# "):
        name, _, value = lines.pop(0)[2:].partition(": ")
        head[name] = json.loads(value)
    code = head["exit"]
    settings = head["settings"]
    assert isinstance(code, int)
    assert isinstance(settings, dict)
    return Recording(tuple(lines), code, settings)


def sentences(folder: Path) -> dict[str, str]:
    """What each recording of a folder is to lead to, by its name."""
    return dict(json.loads((folder / "sentences.json").read_bytes()))


def names(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.txt")}


def check(
    record: Recording, expected: str, diagnostics: Diagnostics, situation: Situation, ordinary: str, misleading: str
) -> None:
    """A log leads to exactly this sentence, whatever the engine says of its ordinary doings before and afterwards.

    Args:
        ordinary: a line of the engine's log, of level INFO.
        misleading: another, that names causes which are none.
    """
    assert diagnose(record.lines, diagnostics, situation) == expected
    talkative = [misleading, *record.lines, *[ordinary] * ORDINARY, misleading]
    assert diagnose(talkative, diagnostics, situation) == expected
