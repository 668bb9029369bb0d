#!/usr/bin/env python3
"""Make an environment with Ray Serve: `ray_env.py [FOLDER]`, `.venv-ray` by default. 0.6 GB, half a minute.

The worker and its tests are in it, too, since replicas are processes of Ray's that run the worker.
"""

from __future__ import annotations

import sys
from pathlib import Path

import engine_env

ROOT = engine_env.ROOT
REQUIREMENTS = ROOT / "requirements"
OURS = [ROOT / name for name in ("common", "workers", "engines/echo", "engines/upstream")]


def main(folder: Path) -> int:
    made_from = [Path(__file__), *(ours / "pyproject.toml" for ours in OURS)]
    options = ["--no-deps", "--require-hashes"]
    python = f"3.{max(sys.version_info[1], 11)}"
    return engine_env.make(folder, python, REQUIREMENTS / "ray.txt", *options, made_from=made_from, then=_install_ours)


def _install_ours(folder: Path) -> None:
    editable = [part for ours in OURS for part in ("-e", ours)]
    engine_env.install(folder, "--no-deps", "--no-build-isolation", *editable)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-ray").absolute()))
