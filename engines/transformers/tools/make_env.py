#!/usr/bin/env python3
"""Make an environment with real transformers for a CPU: `make_env.py [FOLDER]`, `.venv-transformers` by default.

The engine lives in the worker's process, so the worker, its tests and the small model are in it, too. 1.4 GB.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402
import worker_env  # noqa: E402


def main(folder: Path) -> int:
    wanted = "transformers-cpu.txt"
    python, torch = engine_env.cpu_torch(worker_env.REQUIREMENTS / wanted)
    return worker_env.make(
        folder,
        python,
        wanted,
        *torch,
        script=Path(__file__),
        engines=("echo", "transformers"),
        beside=worker_env.FOR_TESTS,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-transformers").absolute()))
