"""An environment with the worker in it: for engines that live in its process, and for what runs workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import engine_env

REQUIREMENTS = engine_env.ROOT / "requirements"
FOR_TESTS = ("serve.txt", "dev.txt", "model.txt")
"""What the worker, its tests and the small model need."""


def make(
    folder: Path,
    python: str,
    requirements: str,
    *options: str,
    script: Path,
    engines: Sequence[str],
    beside: Sequence[str] = (),
) -> int:
    """Make `folder` an environment with the core, the doors and some engines, each as it is in this checkout; does
    nothing where it is one already.

    Args:
        python: its version, `3.12`.
        requirements: a file of the folder of that name.
        options: further arguments of `uv pip install`.
        script: the tool that makes it.
        engines: their folders' names.
        beside: more files like `requirements`.
    """
    ours = [engine_env.ROOT / name for name in ("common", "workers", *(f"engines/{engine}" for engine in engines))]
    others = [REQUIREMENTS / name for name in beside]

    def install_ours(folder: Path) -> None:
        editable = [part for each in ours for part in ("-e", each)]
        engine_env.install(folder, "--no-deps", "--no-build-isolation", *editable)

    # All is pinned, and some packages name dependencies that nobody wants.
    arguments = ["--no-deps", *options, *(part for path in others for part in ("-r", path))]
    made_from = [Path(__file__), script, *others, *(each / "pyproject.toml" for each in ours)]
    return engine_env.make(
        folder, python, REQUIREMENTS / requirements, *arguments, made_from=made_from, then=install_ours
    )
