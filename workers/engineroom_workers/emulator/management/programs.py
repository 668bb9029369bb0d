"""Which program of this machine stands for an image, and the environment that its process gets."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engineroom.hardware import ImageName, ImageNameError

from ..worker_environment import OFF_PLATFORM, search_path

_ENGINE_IN_TAG = re.compile(r"(?:^|-)(?P<engine>[a-z][a-z_]*)-\d[\w.]*-(?:cpu|cu\d+)(?:-|$)")
"""A tag names our version, then the row of the image matrix: engine, its version, and CUDA's or `cpu`."""
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
    """

    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)

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

    def find(self, image: str) -> Program | None:
        """What stands for an image; None for one that nobody knows."""
        for pattern, command in self._others:
            if fnmatch.fnmatchcase(image, pattern):
                return Program(tuple(shlex.split(command)))
        name = _parsed(image)
        if name is None or not name.repository.rpartition("/")[2].startswith("engineroom"):
            return None
        engine = _ENGINE_IN_TAG.search(name.tag)
        environ = {"ENGINE": engine["engine"]} if engine is not None else {}
        return Program(("engineroom",), ("start",), {"WORKER": "runpod", "PORT": "8000", **environ})


def _parsed(image: str) -> ImageName | None:
    try:
        return ImageName.parse(image)
    except ImageNameError:
        return None


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
