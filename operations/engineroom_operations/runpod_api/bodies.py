"""The bodies of requests that create and change something. What is UNSET is not sent: then a create takes RunPod's
default, and an update leaves things as they are.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType


class Body(msgspec.Struct, rename="camel", kw_only=True):
    """The body of a request."""

    def json(self) -> dict[str, Any]:
        """What is sent."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value


class ContainerBody(Body, rename="camel", kw_only=True):
    """What runs. disk: GB. env replaces all there was. ports: `8000/http`. registry: the id of a credential."""

    name: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    args: str | UnsetType = UNSET
    disk: int | UnsetType = UNSET
    env: dict[str, str] | UnsetType = UNSET
    ports: list[str] | UnsetType = UNSET
    registry: str | UnsetType | None = UNSET


class TemplateBody(ContainerBody, rename="camel", kw_only=True):
    """A template. RunPod's defaults would start SSH and Jupyter, and put their secrets into the environment."""

    category: str | UnsetType = UNSET
    serverless: bool | UnsetType = UNSET
    public: bool | UnsetType = UNSET
    start_ssh: bool | UnsetType = UNSET
    start_jupyter: bool | UnsetType = UNSET


class VolumeBody(Body, rename="camel", kw_only=True):
    """A network volume. size: GB."""

    name: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    data_center: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class RegistryBody(Body, kw_only=True):
    """A credential."""

    name: str
    username: str
    password: str


class EndpointGpuRequest(Body, rename="camel", kw_only=True):
    """GPUs for each worker, of any of these pools."""

    pools: list[str] | UnsetType = UNSET
    excluded_types: list[str] | UnsetType = UNSET
    count: int | UnsetType = UNSET
    min_cuda_version: str | UnsetType = UNSET


class CpuRequest(Body, rename="camel", kw_only=True):
    """vCPUs of one flavour."""

    id: str
    vcpu_count: int


class WorkerCounts(Body, rename="camel", kw_only=True):
    """idle_timeout: seconds."""

    min: int | UnsetType = UNSET
    max: int | UnsetType = UNSET
    idle_timeout: int | UnsetType = UNSET


class QueueDelay(Body, rename="camel", kw_only=True, tag="QUEUE_DELAY", tag_field="type"):
    """Another worker where a request waits longer than this many seconds; queue endpoints only."""

    queue_delay: float


class RequestCount(Body, rename="camel", kw_only=True, tag="REQUEST_COUNT", tag_field="type"):
    """As many workers as it takes to have this many requests each."""

    request_count: int


Scaling: TypeAlias = QueueDelay | RequestCount


class EndpointBody(ContainerBody, rename="camel", kw_only=True):
    """A serverless endpoint. timeout: of a request, in ms."""

    type: str | UnsetType = UNSET
    gpu: EndpointGpuRequest | UnsetType = UNSET
    cpu: list[CpuRequest] | UnsetType = UNSET
    workers: WorkerCounts | UnsetType = UNSET
    scaling: Scaling | UnsetType = UNSET
    data_center_ids: list[str] | UnsetType = UNSET
    network_volumes: list[str] | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    flashboot: str | UnsetType = UNSET
    template_id: str | UnsetType = UNSET


class PodGpuRequest(Body, rename="camel", kw_only=True):
    """GPUs of one type."""

    id: str
    count: int | UnsetType = UNSET
    min_cuda_version: str | UnsetType = UNSET


class NetworkMount(Body, rename="camel", kw_only=True):
    """Where a network volume is mounted."""

    volume_id: str
    path: str


class PodMounts(Body, rename="camel", kw_only=True):
    """At most one network volume."""

    network: list[NetworkMount]


class PodBody(ContainerBody, rename="camel", kw_only=True):
    """A pod."""

    gpu: PodGpuRequest | UnsetType = UNSET
    cpu: CpuRequest | UnsetType = UNSET
    cloud: str | UnsetType = UNSET
    data_center_ids: list[str] | UnsetType = UNSET
    mounts: PodMounts | UnsetType = UNSET
    template_id: str | UnsetType = UNSET
