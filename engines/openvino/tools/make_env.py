#!/usr/bin/env python3
"""Make an environment with OpenVINO GenAI: `make_env.py [FOLDER]`, `.venv-openvino` by default.

The engine's tokeniser lives in the worker's process, so the worker, its tests and the small model are in it, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine_env  # noqa: E402

REQUIREMENTS = ROOT / "requirements"
OURS = [ROOT / name for name in ("common", "workers", "engines/echo", "engines/openvino")]


def main(folder: Path) -> int:
    beside = [REQUIREMENTS / name for name in ("serve.txt", "dev.txt", "model.txt")]
    made_from = [Path(__file__), *beside, *(ours / "pyproject.toml" for ours in OURS)]
    # All is pinned, and the package with the model names dependencies that nobody wants.
    more = ["--no-deps", *(part for path in beside for part in ("-r", path))]
    python = f"3.{sys.version_info[1]}"
    return engine_env.make(
        folder, python, REQUIREMENTS / "openvino.txt", *more, made_from=made_from, then=_install_ours
    )


def _install_ours(folder: Path) -> None:
    editable = [part for ours in OURS for part in ("-e", ours)]
    engine_env.install(folder, "--no-deps", "--no-build-isolation", *editable)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".venv-openvino").absolute()))
