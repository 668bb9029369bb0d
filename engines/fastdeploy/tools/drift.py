"""Compare a committed flag snapshot with FastDeploy's real parser: `drift.py [--write] [--python P] [CHECKOUT …]`.

FastDeploy is asked in its own Python (FASTDEPLOY_PYTHON), or a source checkout (SOURCE) in a Python that has what
FastDeploy imports. Exits with 1 where the snapshot is missing or has drifted; `--write` refreshes it instead.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import flag_drift


def checkout(python: Path, source: str) -> flag_drift.Asked:
    return flag_drift.Asked(python, [source])


if __name__ == "__main__":
    own = os.environ.get("FASTDEPLOY_PYTHON", "python3")
    given = list(filter(None, [os.environ.get("SOURCE")]))
    remedy = "FASTDEPLOY_PYTHON and SOURCE name others"
    sys.exit(flag_drift.main(__file__, "FastDeploy", shutil.which(own) or own, remedy, checkout, given))
