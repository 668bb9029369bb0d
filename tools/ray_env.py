#!/usr/bin/env python3
"""Make an environment with Ray Serve: `ray_env.py [FOLDER]`, `.venv-ray` by default. 0.6 GB, half a minute.

The worker and its tests are in it, too, since replicas are processes of Ray's that run the worker.
"""

from __future__ import annotations

import sys
from pathlib import Path

import engine_env
import worker_env


def main(folder: Path) -> int:
    python = f"3.{max(sys.version_info[1], 11)}"
    return worker_env.make(
        folder, python, "ray.txt", "--require-hashes", script=Path(__file__), engines=("echo", "upstream")
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else engine_env.ROOT / ".venv-ray").absolute()))
