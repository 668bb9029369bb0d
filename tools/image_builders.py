"""What builds images from Bake's plan: Docker's Bake itself, or buildah where no Docker runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from docker_bake import bake_command

from engineroom.errors import EngineroomError
from engineroom.hardware import ImageName

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
"""Registries on this machine, which Docker's tools speak to without TLS."""


class ImageBuilder(Protocol):
    """Builds targets of Bake's plan in a folder."""

    def build(self, plan: Mapping[str, Any], targets: Sequence[str], push: bool, environ: Mapping[str, str]) -> int:
        """Build, and push or keep on this machine; the exit status of what failed, or 0."""
        ...


class DockerBuilder:
    """Args: root: the repository. bake: the command line that builds, up to its options."""

    def __init__(self, root: Path, bake: Sequence[str]) -> None:
        self._root = root
        self._bake = bake

    def build(self, plan: Mapping[str, Any], targets: Sequence[str], push: bool, environ: Mapping[str, str]) -> int:
        command = [*self._bake, "--push" if push else "--load", *targets]
        return _run(command, self._root, environ)


class BuildahBuilder:
    """Needs no daemon. Args: root: the repository."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def build(self, plan: Mapping[str, Any], targets: Sequence[str], push: bool, environ: Mapping[str, str]) -> int:
        for name in targets:
            target = plan["target"][name]
            commands = [["buildah", *bud_arguments(target), "."]]
            if push:
                commands += [push_command(tag) for tag in target["tags"]]
            for command in commands:
                status = _run(command, self._root, environ)
                if status:
                    return status
        return 0


def bud_arguments(target: Mapping[str, Any]) -> list[str]:
    """buildah's arguments for a target of the plan, without the folder at their end.

    Docker's image format has the health check, which OCI's has no place for. buildah takes no short names: what names
    no registry is Docker Hub's.
    """
    arguments = {**target["args"], "BASE": with_registry(target["args"]["BASE"])}
    return [
        *("bud", "--format=docker", f"--file={target['dockerfile']}", f"--target={target['target']}"),
        *(f"--tag={tag}" for tag in target["tags"]),
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        *(f"--secret={_secret(secret)}" for secret in target.get("secret", ())),
    ]


def push_command(tag: str) -> list[str]:
    """The command that pushes an image; a registry on this machine needs no certificate."""
    host = ImageName.parse(tag).host.rpartition(":")[0] or ImageName.parse(tag).host
    return ["buildah", "push", *(["--tls-verify=false"] if host in _LOCAL else []), tag]


def builder(root: Path, bake: Sequence[str]) -> ImageBuilder:
    """Docker where its daemon answers, else buildah.

    Raises:
        EngineroomError: there is neither.
    """
    if answers("docker", "version"):
        return DockerBuilder(root, bake)
    if answers("buildah", "--version"):
        return BuildahBuilder(root)
    raise EngineroomError("nothing here builds images: start Docker, or install Debian's package buildah")


def digest_in_registry(name: ImageName, environ: Mapping[str, str]) -> str | None:
    """The digest of an image that its registry has, None for one that it lacks. Docker's and podman's log-ins count.

    Raises:
        EngineroomError: the registry cannot be asked, or keeps to itself what it has.
    """
    command = [*bake_command()[:-1], "imagetools", "inspect", str(name)]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise EngineroomError(f"{name.host} does not answer") from None
    if done.returncode == 0:
        (digest,) = re.findall(r"^Digest: +(\S+)$", done.stdout, re.MULTILINE)[:1]
        return str(digest)
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("ERROR: ")
    if reason == f"{name}: not found":
        return None
    raise EngineroomError(reason)


def _run(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run a command whose output is progress: ours is the names of what was built."""
    return subprocess.run(command, cwd=folder, env=environ, stdout=sys.stderr, check=False).returncode


def answers(*command: str) -> bool:
    """Whether a program is here and this command comes to a good end."""
    if shutil.which(command[0]) is None:
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def with_registry(base: str) -> str:
    """An image's name with its registry, which Docker leaves out where it is its own."""
    name = ImageName.parse(base)
    return f"{name.host}/{name.path}" + str(name).removeprefix(str(ImageName(name.registry, name.repository)))


def _secret(secret: str | Mapping[str, str]) -> str:
    """A secret as buildah takes it; newer releases of Bake print the parts, older ones a text."""
    return secret if isinstance(secret, str) else ",".join(f"{name}={value}" for name, value in secret.items())
