"""The container's settings, which templates, pods and endpoints share, and what is mounted into it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Count, ReceivedBody


class ContainerFields(ReceivedBody):
    """What runs, with which arguments, variables, disk (GB) and ports (`8000/http`)."""

    image: str = ""
    args: str = ""
    disk: Count = 1
    env: dict[str, str] = {}
    ports: list[str] = []
    registry: str | None = None


class PersistentMountFields(ReceivedBody):
    """A disk of the pod's own machine, in GB."""

    size: Annotated[int, Field(ge=10)]
    path: str


class NetworkMountFields(ReceivedBody):
    """A network volume, mounted at a path."""

    volume_id: str
    path: str


class MountFields(ReceivedBody):
    """What is mounted into a pod."""

    persistent: PersistentMountFields = PersistentMountFields(size=10, path="")
    network: Annotated[list[NetworkMountFields], Field(max_length=1)] = []


class TemplateMountFields(ReceivedBody):
    """What is mounted into pods that are made from a template."""

    persistent: PersistentMountFields = PersistentMountFields(size=10, path="")


class CpuFields(ReceivedBody):
    """CPUs of one flavour."""

    id: Annotated[str, Field(min_length=1)]
    vcpu_count: Annotated[int, Field(ge=2)]
