#!/usr/bin/env python3
"""Make an environment with many clients: `clients_env.py [FOLDER]`, `.venv-clients` by default.

The core, the doors and the echo engine are in it, too: the tests that run there start servers with them. 0.6 GB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import engine_env
import worker_env


def main(folder: Path) -> int:
    python = f"3.{max(sys.version_info[1], 11)}"
    return worker_env.make(folder, python, "clients.txt", "--require-hashes", script=Path(__file__), engines=("echo",))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else engine_env.ROOT / ".venv-clients").absolute()))
