"""Compare the committed flag snapshots with MAX's real parser: `drift.py [--write] [--python P | REQUIREMENT …]`.

Without a requirement the MAX of `.venv-max` (or of the Python given) is asked. A requirement such as
`max[serve]==26.6.0` is installed under `.build` (1.1 GB) and asked there. Exits with 1 where a snapshot is missing or
has drifted; `--write` refreshes it instead.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import engine_env
import flag_drift


def installed(python: Path, requirement: str) -> flag_drift.Asked:
    folder = flag_drift.folder_of(requirement)
    if not (folder / "bin" / "python").exists():
        engine_env.create(folder, f"3.{max(sys.version_info[1], 11)}")
        engine_env.install(folder, requirement)
    return flag_drift.Asked(folder / "bin" / "python")


if __name__ == "__main__":
    sys.exit(flag_drift.main(__file__, "MAX", ".venv-max/bin/python", "`make env-max` makes it", installed))
