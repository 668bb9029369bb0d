"""Docker's Bake, which builds the images: as a program of its own, or as Docker's plugin."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from engineroom.errors import EngineroomError


def bake_command() -> list[str]:
    """The command that is Docker's Bake here. Docker without its plugin is none, nor is a file that does not run.

    Raises:
        EngineroomError: there is none.
    """
    for buildx in (["docker-buildx"], ["docker", "buildx"]):
        if shutil.which(buildx[0]) and _works([*buildx, "version"]):
            return [*buildx, "bake"]
    raise EngineroomError("Docker's buildx is missing: install Docker, or Debian's package docker-buildx")


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
