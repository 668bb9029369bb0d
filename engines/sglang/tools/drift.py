"""Compare the committed flag snapshots with SGLang's real parser: `drift.py --python P [--write]`.

P is a Python that has SGLang; no GPU is needed. Exits with 1 where a snapshot is missing or has drifted; `--write`
refreshes it instead.
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
        engine_env.create(folder, "3.12")
        engine_env.install(folder, requirement)
    return flag_drift.Asked(folder / "bin" / "python")


if __name__ == "__main__":
    sys.exit(flag_drift.main(__file__, "SGLang", ".venv-sglang/bin/python", "name one that has it", installed))
