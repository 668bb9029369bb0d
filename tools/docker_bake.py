"""Docker's Bake, which builds the images: as a program of its own, or as Docker's plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from engineroom.errors import EngineroomError

_OF_DOCKER = ("PATH", "HOME", "DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_CONTEXT", "BUILDX_CONFIG", "XDG_CONFIG_HOME")
"""What Docker's tools need to be themselves: DOCKER_CONFIG, for one, names the folder of their plugins and log-ins."""


def docker_environment() -> dict[str, str]:
    """This process's environment, with nothing in it that would fill in a variable of a file of Bake's or Compose's."""
    return {name: os.environ[name] for name in _OF_DOCKER if name in os.environ}


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
