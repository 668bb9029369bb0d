#!/usr/bin/env python3
"""Make an environment with many clients: `clients_env.py [FOLDER]`, `.venv-clients` by default.

The core, the doors and the echo engine are in it, too: the tests that run there start servers with them. 0.6 GB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import engine_env

ROOT = engine_env.ROOT
REQUIREMENTS = ROOT / "requirements"
OURS = [ROOT / name for name in ("common", "workers", "engines/echo")]


def main(folder: Path) -> int:
    made_from = [Path(__file__), *(ours / "pyproject.toml" for ours in OURS)]
    # All is pinned, and instructor's own limits are overridden (clients.overrides).
    options = ["--no-deps", "--require-hashes"]
    python = f"3.{max(sys.version_info[1], 11)}"
    return engine_env.make(
        folder, python, REQUIREMENTS / "clients.txt", *options, made_from=made_from, then=_install_ours
    )


def _install_ours(folder: Path) -> None:
    editable = [part for ours in OURS for part in ("-e", ours)]
    engine_env.install(folder, "--no-deps", "--no-build-isolation", *editable)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-clients").absolute()))
