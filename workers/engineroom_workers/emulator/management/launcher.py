"""From a container's settings to its process: the program, the variables, the ports and the mounts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..worker_environment import free_port
from .hosts import ContainerProcess, Host
from .logs import Log
from .ports import PortMap, map_ports
from .programs import Programs, container_environment
from .volume_folders import VolumeFolders

_SECRET: Final = re.compile(r"\{\{\s*(RUNPOD_SECRET_\w+)\s*\}\}")
"""How the variables of a container name a secret that is kept in RunPod's console."""


class PreparedContainer(NamedTuple):
    """What can be started, but for the platform's own variables.

    notes: what its log should say.
    """

    command: list[str]
    image_environ: Mapping[str, str]
    env: Mapping[str, str]
    ports: PortMap
    notes: tuple[str, ...]


class Launcher:
    """Starts containers on a host."""

    def __init__(self, host: Host, programs: Programs, folders: VolumeFolders) -> None:
        self._host = host
        self._programs = programs
        self._folders = folders

    def has_room(self) -> bool:
        """Whether the host can run one more."""
        return self._host.has_room()

    def prepare(self, container: Mapping[str, Any], mounts: Mapping[str, str]) -> PreparedContainer | None:
        """Get a container ready; None if nothing stands for its image.

        Args:
            container: with `image`, `args` and `env`.
            mounts: the volume that is mounted at each path.
        """
        program = self._programs.find(container["image"])
        if program is None:
            return None
        env = dict(container["env"])
        missing = {name for value in env.values() for name in _SECRET.findall(value) if name not in os.environ}
        env = {name: _SECRET.sub(_secret, value) for name, value in env.items()}
        folders = {path: self._folders.folder(volume) for path, volume in mounts.items()}
        return PreparedContainer(
            program.command(container["args"]),
            _mounted({**program.environ, **_on_volume(program.on_volume, folders)}, folders),
            _mounted(env, folders),
            map_ports({**program.environ, **env}, free_port),
            tuple(f"set {name} for the emulator: a variable names that secret" for name in sorted(missing)),
        )

    def start(
        self, prepared: PreparedContainer, platform: Mapping[str, str], log: Log, on_end: Callable[[int], None]
    ) -> ContainerProcess:
        """Start it with the platform's variables; see `Host.start`."""
        environ = container_environment(prepared.image_environ, prepared.env, {**platform, **prepared.ports.environ})
        for note in prepared.notes:
            log.system(note)
        log.system(f"starting {' '.join(prepared.command)}")
        return self._host.start(prepared.command, environ, log, on_end)


def _secret(match: re.Match[str]) -> str:
    return os.environ.get(match[1], match[0])


def _on_volume(defaults: Mapping[str, str], folders: Mapping[str, Path]) -> dict[str, str]:
    """The defaults that lie on what is mounted: the program itself would look for them on this machine."""
    return {name: path for name, path in defaults.items() if path in folders}


def _mounted(environ: Mapping[str, str], folders: Mapping[str, Path]) -> dict[str, str]:
    """The variables with this machine's folders where they name a path on a volume."""
    return {name: _on_this_machine(value, folders) for name, value in environ.items()}


def _on_this_machine(value: str, folders: Mapping[str, Path]) -> str:
    for path, folder in folders.items():
        if value == path or value.startswith(f"{path.rstrip('/')}/"):
            return str(folder) + value[len(path.rstrip("/")) :]
    return value
