"""Which program of this machine stands for an image, and the environment that its process gets."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from engineroom.hardware import ImageName, ImageNameError, Matrix

from ..worker_environment import OFF_PLATFORM, search_path

DEFAULTS: Final = MappingProxyType({"WORKER": "runpod", "PORT": "8000"})
"""The variables that every image of this project sets."""
ON_VOLUME: Final = MappingProxyType({"BASE_PATH": "/runpod-volume"})
"""Settings of this project's workers whose defaults are places on a volume."""
_MACHINES = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|VIRTUAL_ENV|PYTHON\w+|LD_LIBRARY_PATH|SSL_CERT_\w+|"
    r"REQUESTS_CA_BUNDLE|(?i:https?_proxy|no_proxy)|HF_HOME|HF_ENDPOINT|HF_HUB_\w+|TRANSFORMERS_OFFLINE|XDG_\w+|"
    r"CUDA_\w+|OMP_NUM_THREADS|COVERAGE_\w+"
)
"""The variables of this machine that a container's process needs. All others are the container's own."""


@dataclass(frozen=True)
class Program:
    """What stands for an image.

    entrypoint: what the image runs, whatever the arguments.
    arguments: what follows where the container has no `args`.
    environ: the variables that the image sets.
    on_volume: settings whose defaults are places on a volume, if there is one.
    """

    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    on_volume: Mapping[str, str] = field(default_factory=dict)

    def command(self, args: str) -> list[str]:
        """The command line for a container with these `args`."""
        return [*self.entrypoint, *(shlex.split(args) or self.arguments)]


class Programs:
    """Finds the program of an image.

    Args:
        others: images that are not this project's, as patterns of a shell, and the command for each.
    """

    def __init__(self, others: Sequence[tuple[str, str]] = ()) -> None:
        self._others = tuple(others)
        self._matrix = Matrix.packaged()

    def find(self, image: str) -> Program | None:
        """What stands for an image; None for one that nobody knows."""
        for pattern, command in self._others:
            if fnmatch.fnmatchcase(image, pattern):
                return Program(tuple(shlex.split(command)))
        try:
            row = self._matrix.row_of(image)
            repository = ImageName.parse(image).repository
        except ImageNameError:
            return None
        if row is None and not repository.rpartition("/")[2].startswith("engineroom"):
            return None
        environ = {} if row is None else {"ENGINE": row.engine}
        return Program(("engineroom",), ("start",), {**DEFAULTS, **environ}, ON_VOLUME)


def container_environment(
    image: Mapping[str, str], env: Mapping[str, str], platform: Mapping[str, str]
) -> dict[str, str]:
    """All variables of a container's process.

    Args:
        image: those that the image sets.
        env: those of the container's settings, which come before the image's.
        platform: those that the platform sets, which come before all others.
    """
    machine = {name: value for name, value in os.environ.items() if _MACHINES.fullmatch(name)}
    return {**machine, **OFF_PLATFORM, **image, **env, **platform, "PATH": search_path()}
