"""Committed flag snapshots compared with what an engine's own parser says: what engines' `tools/drift.py` calls."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMPARED = (
    *("flags", "negative", "kind", "item", "repeat", "choices", "plugin", "default", "group", "help"),
    *("ge", "gt", "le", "lt", "shape", "keys"),
)


@dataclass(frozen=True)
class Asked:
    """Where an engine's `dump_flags.py` runs.

    python: one that has the engine.
    arguments: for `dump_flags.py`.
    environ: variables beside this process's own.
    """

    python: Path
    arguments: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def main(
    tool: str,
    title: str,
    python: str | Path,
    remedy: str,
    other: Callable[[Path, str], Asked],
    others: Sequence[str] = (),
) -> int:
    """The command line of an engine's `drift.py`; 1 where a snapshot is missing or has drifted.

    Args:
        tool: that file. Beside it is `dump_flags.py`; the engine's package has its snapshots in `flags`.
        title: the engine, as people call it.
        python: the one that has the engine, unless `--python` says otherwise; below the root where it is relative.
        remedy: what to do where it has not.
        other: where another version is asked, given that Python and what the command line calls it.
        others: those to ask unless the command line has any; the one in `python` where there are none.
    """
    folder = Path(tool).resolve().parent
    arguments = argparse.ArgumentParser(description=f"Compare the flag snapshots with {title}'s own parser.")
    arguments.add_argument("other", nargs="*", default=others, help="another version to ask; the file says what it is")
    arguments.add_argument("--python", type=Path, default=ROOT / python)
    arguments.add_argument("--snapshots", type=Path, default=next(folder.parent.glob("engineroom_*/flags")))
    arguments.add_argument("--write", action="store_true", help="write the snapshot instead of comparing it")
    chosen = arguments.parse_args()
    places = [other(chosen.python, name) for name in chosen.other] or [Asked(chosen.python)]
    drifted = [
        check(title, chosen.snapshots, _dump(folder / "dump_flags.py", place, remedy), write=chosen.write)
        for place in places
    ]
    return int(any(drifted))


def _dump(program: Path, asked: Asked, remedy: str) -> str:
    print(f"asking {asked.python}", *asked.arguments, file=sys.stderr)
    command, environ = [asked.python, program, *asked.arguments], {**os.environ, **asked.environ}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
    except OSError as error:
        raise SystemExit(f"{error}; {remedy}") from error
    if done.returncode:
        raise SystemExit(f"{done.stderr[-4000:]}\nthe parser cannot be asked in {asked.python}; {remedy}")
    return done.stdout


def folder_of(requirement: str) -> Path:
    """Where a version that is installed only to be asked is put."""
    return ROOT / ".build" / re.sub(r"[^\w.]+", "-", requirement)


def check(title: str, snapshots: Path, text: str, *, write: bool) -> bool:
    """Whether the snapshot of one version lacks or has drifted; `write` refreshes it instead.

    Args:
        title: the engine, as people call it.
        snapshots: the folder with a file for each version.
        text: what the engine's parser was found to have, a snapshot itself.
    """
    dumped = json.loads(text)
    snapshot = snapshots / f"{dumped['version']}.json"
    if write:
        snapshot.write_text(text, encoding="utf-8")
        print(f"{snapshot.name}: {len(dumped['flags'])} flags written")
        return False
    if not snapshot.is_file():
        print(f"{title} {dumped['version']} has no snapshot; --write makes one")
        return True
    lines = list(differences(json.loads(snapshot.read_text(encoding="utf-8")), dumped))
    print(f"{title} {dumped['version']}: {len(dumped['flags'])} flags, {len(lines)} differ from the snapshot")
    for line in lines:
        print("  " + line)
    return bool(lines)


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What changed from one snapshot to another, a line each."""
    before, after = ({row["name"]: row for row in snapshot["flags"]} for snapshot in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{name:40} gone"
        elif name not in before:
            yield f"{name:40} new: {after[name]['kind']}"
        else:
            for field in COMPARED:
                was, now = before[name].get(field), after[name].get(field)
                if was != now:
                    yield f"{name:40} {field}: {was} -> {now}"
    for name in sorted(set(old.get("environ", ())) ^ set(new.get("environ", ()))):
        yield f"{name:40} environment variable {'new' if name in new.get('environ', ()) else 'gone'}"
