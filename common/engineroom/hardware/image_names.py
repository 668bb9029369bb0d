"""The full name of an image: registry, repository, tag and digest, as registries and Docker's tools read one."""

from __future__ import annotations

import re

import msgspec

from ..errors import EngineroomError

DOCKER_HUB = "docker.io"
"""The registry of a name that gives none."""

LONGEST_TAG = 128
"""Characters; what registries allow in a tag (OCI distribution specification)."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?")
_TAG = re.compile(rf"\w[\w.-]{{0,{LONGEST_TAG - 1}}}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImageNameError(EngineroomError):
    """A text is no name of an image; its own text says what is wrong with it."""


class ImageName(msgspec.Struct, frozen=True):
    """A name of an image, in its parts.

    registry: a host, with a port if it has one: `ghcr.io`, `localhost:5000`. Empty where the name gives none, which
        Docker's Hub is then.
    repository: the path within the registry, `me/engineroom`.
    tag, digest: which of its images; empty where the name gives none.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read a name such as `ghcr.io/me/engineroom:0.1.0-cpu`; the rules are Docker's.

        Raises:
            ImageNameError: it is none.
        """
        rest, at, digest = text.strip().partition("@")
        path, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            path = rest
            colon = ""
            tag = ""
        first, slash, others = path.partition("/")
        has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry = first if has_registry else ""
        repository = others if has_registry else path
        if registry and not _REGISTRY.fullmatch(registry):
            raise ImageNameError(f"{text!r} is no name of an image: {registry!r} is no host of a registry")
        if not _REPOSITORY.fullmatch(repository):
            raise ImageNameError(
                f"{text!r} is no name of an image: a repository is lower-case letters, digits and separators, "
                "such as me/engineroom"
            )
        if colon and not _TAG.fullmatch(tag):
            raise ImageNameError(
                f"{text!r} is no name of an image: a tag is at most {LONGEST_TAG} letters, digits, `.`, `_` and `-`"
            )
        if at and not _DIGEST.fullmatch(digest):
            raise ImageNameError(f"{text!r} is no name of an image: a digest is sha256: and 64 hexadecimal digits")
        return cls(registry, repository, tag, digest)

    @property
    def owned(self) -> bool:
        """Whether it names a registry or an owner. Without either it is an image of this machine: a registry has no
        place to push it to, and other machines none to pull it from."""
        return bool(self.registry) or "/" in self.repository

    @property
    def host(self) -> str:
        """The registry that has it, Docker's Hub where the name gives none."""
        return self.registry or DOCKER_HUB

    @property
    def path(self) -> str:
        """The repository as the registry knows it: Docker's Hub keeps what has no owner under `library`."""
        return self.repository if self.host != DOCKER_HUB or "/" in self.repository else f"library/{self.repository}"

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}" if self.registry else self.repository
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")
