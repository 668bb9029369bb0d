#!/usr/bin/env python3
"""Make an environment with real MAX: `make_env.py [FOLDER]`, `.venv-max` by default. 1.1 GB, some 10 s."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-max").absolute()
    python = f"3.{max(sys.version_info[1], 11)}"
    sys.exit(engine_env.make(folder, python, ROOT / "requirements" / "max-cpu.txt"))
