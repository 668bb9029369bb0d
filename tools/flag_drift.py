"""Committed flag snapshots compared with what an engine's own parser says: used by engines' `tools/drift.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMPARED = ("flags", "negative", "kind", "item", "repeat", "choices", "default", "group", "help")


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
