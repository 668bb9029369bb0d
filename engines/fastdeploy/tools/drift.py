"""Compare a committed flag snapshot with FastDeploy's real parser: `drift.py [--write] [--python P] [--source DIR]`.

FastDeploy is asked in its own Python (FASTDEPLOY_PYTHON), or a source checkout (SOURCE) in a Python that has what
FastDeploy imports. Exits with 1 where the snapshot is missing or has drifted; `--write` refreshes it instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import flag_drift

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
    return 1 if flag_drift.check("FastDeploy", chosen.snapshots, asked.stdout, write=chosen.write) else 0


if __name__ == "__main__":
    sys.exit(main())
