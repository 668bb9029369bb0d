"""Compare a committed flag snapshot with FastDeploy's real parser: `drift.py [--write] [--python P] [--source DIR]`.

FastDeploy is asked in its own Python (FASTDEPLOY_PYTHON), or a source checkout (SOURCE) in a Python that has what
FastDeploy imports. Exits with 1 where the snapshot is missing or has drifted; `--write` refreshes it instead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SNAPSHOTS = Path(__file__).resolve().parents[1] / "engineroom_fastdeploy" / "flags"
DUMP = Path(__file__).with_name("dump_flags.py")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--python", default=os.environ.get("FASTDEPLOY_PYTHON", "python3"))
    arguments.add_argument("--source", default=os.environ.get("SOURCE"), help="an upstream checkout to ask instead")
    arguments.add_argument("--snapshots", type=Path, default=SNAPSHOTS)
    arguments.add_argument("--write", action="store_true", help="write the snapshot instead of comparing it")
    chosen = arguments.parse_args()
    asked = subprocess.run(
        [chosen.python, str(DUMP), *([chosen.source] if chosen.source else [])], stdout=subprocess.PIPE, text=True
    )
    if asked.returncode:
        print(f"FastDeploy's parser cannot be asked in {chosen.python}; FASTDEPLOY_PYTHON and SOURCE name others")
        return 1
    dumped = json.loads(asked.stdout)
    snapshot: Path = chosen.snapshots / f"{dumped['version']}.json"
    if chosen.write:
        snapshot.write_text(asked.stdout, encoding="utf-8")
        print(f"{snapshot.name}: {len(dumped['flags'])} flags written")
        return 0
    if not snapshot.is_file():
        print(f"FastDeploy {dumped['version']} has no snapshot; --write makes one")
        return 1
    lines = list(differences(json.loads(snapshot.read_text(encoding="utf-8")), dumped))
    print(f"FastDeploy {dumped['version']}: {len(dumped['flags'])} flags, {len(lines)} differ from the snapshot")
    for line in lines:
        print("  " + line)
    return 1 if lines else 0


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """A line for each flag that one of two snapshots lacks or has in another shape."""
    known, real = ({row["name"]: row for row in table["flags"]} for table in (ours, theirs))
    yield from (f"gone: {name}" for name in sorted(known.keys() - real.keys()))
    yield from (f"new: {name}" for name in sorted(real.keys() - known.keys()))
    for name in sorted(known.keys() & real.keys()):
        for key in sorted(known[name].keys() | real[name].keys()):
            if known[name].get(key) != real[name].get(key):
                yield f"{name}: {key} was {known[name].get(key)!r}, is {real[name].get(key)!r}"


if __name__ == "__main__":
    sys.exit(main())
