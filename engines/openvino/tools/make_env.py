#!/usr/bin/env python3
"""Make an environment with OpenVINO GenAI: `make_env.py [FOLDER]`, `.venv-openvino` by default.

The engine's tokeniser lives in the worker's process, so the worker, its tests and the small model are in it, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import worker_env  # noqa: E402


def main(folder: Path) -> int:
    return worker_env.make(
        folder,
        f"3.{sys.version_info[1]}",
        "openvino.txt",
        script=Path(__file__),
        engines=("echo", "openvino"),
        beside=worker_env.FOR_TESTS,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-openvino").absolute()))
