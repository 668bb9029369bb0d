"""What the management API shows. What it adds to its answers in the future is ignored; units are in each docstring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec


class Resource(msgspec.Struct, rename="camel", kw_only=True):
    """Something with an id and a name. A name need not be unique."""

    id: str
    name: str


class Container(Resource, rename="camel", kw_only=True):
    """What runs, wherever: disk in GB, ports as `8000/http`, registry the id of a credential."""

    image: str = ""
    args: str = ""
    disk: int | None = None
    env: dict[str, str] = {}
    ports: list[str] = []
    registry: str | None = None


class StoredTemplate(Container, rename="camel", kw_only=True):
    """Container settings under a name. What was made from a template does not change with it."""

    serverless: bool = False
    public: bool = False
    category: str = ""
    start_ssh: bool = False
    start_jupyter: bool = False
    allowed_cuda_versions: list[str] = []


class NetworkVolume(Resource, rename="camel", kw_only=True):
    """A volume: size in GB, which only grows; the rest stays as it was made."""

    size: int
    data_center: str
    type: str = "STANDARD"


class RegistryCredential(Resource, kw_only=True):
    """A user name and a password for a registry; neither is ever shown."""


class EndpointGpu(msgspec.Struct, rename="camel", kw_only=True):
    """count: GPUs a worker. min_cuda_version: the oldest CUDA that a machine's driver must know; null for any."""

    pools: list[str] = []
    excluded_types: list[str] = []
    count: int = 1
    allowed_cuda_versions: list[str] = []
    min_cuda_version: str | None = None


class CpuShape(msgspec.Struct, rename="camel", kw_only=True):
    """A flavour of CPU and how many of it."""

    id: str
    vcpu_count: int


class WorkerLimits(msgspec.Struct, rename="camel", kw_only=True):
    """How few and how many workers there may be; idle_timeout in seconds."""

    min: int = 0
    max: int = 0
    idle_timeout: int | None = None


class ServerlessEndpoint(Container, rename="camel", kw_only=True):
    """An endpoint. type: QUEUE or LOAD_BALANCER. timeout: of a request, in ms. request_urls: where clients go."""

    type: str = "QUEUE"
    request_urls: dict[str, str] = {}
    gpu: EndpointGpu | None = None
    cpu: list[CpuShape] = []
    workers: WorkerLimits = msgspec.field(default_factory=WorkerLimits)
    scaling: dict[str, Any] = {}
    data_center_ids: list[str] = []
    network_volumes: list[str] = []
    timeout: int = 0
    flashboot: str = "OFF"
    created_at: str = ""


class EndpointWorker(msgspec.Struct, rename="camel", kw_only=True):
    """One worker. status: RUNNING, IDLE, INITIALIZING, THROTTLED or UNHEALTHY. is_stale: it runs older settings."""

    id: str
    status: str
    is_stale: bool = False
    version: int | None = None
    gpu_count: int = 0
    image: str | None = None
    uptime_seconds: int | None = None
    gpu_type_id: str | None = None
    data_center_id: str | None = None
    started_at: str | None = None


class EndpointWorkers(msgspec.Struct, rename="camel", kw_only=True):
    """The workers of an endpoint."""

    workers: list[EndpointWorker] = []
    endpoint_version: int | None = None


class PodGpu(msgspec.Struct, rename="camel", kw_only=True):
    """GPUs of one type."""

    id: str
    count: int = 1


class VolumeMount(msgspec.Struct, rename="camel", kw_only=True):
    """Where a network volume is in a container."""

    volume_id: str
    path: str


class MountedVolumes(msgspec.Struct, rename="camel", kw_only=True):
    """At most one network volume, or a disk of the machine's own."""

    network: list[VolumeMount] = []
    persistent: dict[str, Any] | None = None


class RentedPod(Container, rename="camel", kw_only=True):
    """A pod. status: PROVISIONING, STARTING, RUNNING, EXITED, ERROR or TERMINATED. cost: USD an hour, now."""

    status: str = ""
    actions: list[str] = []
    gpu: PodGpu | None = None
    cpu: CpuShape | None = None
    cloud: str = ""
    data_center_id: str | None = None
    mounts: MountedVolumes = msgspec.field(default_factory=MountedVolumes)
    cost: float = 0.0
    created_at: str = ""
    started_at: str | None = None


class GpuPrice(msgspec.Struct, rename="camel", kw_only=True):
    """USD an hour for one GPU; serverless is that of a worker's."""

    secure: float | None = None
    community: float | None = None
    serverless: float | None = None


class GpuOffer(Resource, rename="camel", kw_only=True):
    """A type of GPU. id: for pods; pool: for endpoints, null where it is in none. memory: GB.

    availability: NONE, LOW, MEDIUM or HIGH, where it was asked for.
    """

    memory: int = 0
    pool: str | None = None
    manufacturer: str = ""
    secure: bool = False
    community: bool = False
    price: GpuPrice = msgspec.field(default_factory=GpuPrice)
    availability: str | None = None


class CpuPrice(msgspec.Struct, rename="camel", kw_only=True):
    """USD an hour for one vCPU."""

    secure_per_vcpu: float | None = None
    serverless_per_vcpu: float | None = None


class CpuOffer(Resource, rename="camel", kw_only=True):
    """A flavour of CPU."""

    ram_gb_per_vcpu: float = 0.0
    price: CpuPrice = msgspec.field(default_factory=CpuPrice)
    availability: str | None = None


class GpuStock(Resource, kw_only=True):
    """How many GPUs of a type are free in a data centre: NONE, LOW, MEDIUM or HIGH."""

    availability: str = "NONE"


class DataCenterOffer(Resource, rename="camel", kw_only=True):
    """A data centre."""

    network_volume_types: list[str] = []
    gpu_availability: list[GpuStock] = []


R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class ResourceKind(Generic[R]):
    """A kind of resource: where it is in the API, under which key it is listed, and what people call it."""

    path: str
    listed: str
    word: str
    form: type[R]


TEMPLATES = ResourceKind("templates", "templates", "template", StoredTemplate)
VOLUMES = ResourceKind("network-volumes", "networkVolumes", "network volume", NetworkVolume)
REGISTRIES = ResourceKind("registries", "registries", "registry credential", RegistryCredential)
ENDPOINTS = ResourceKind("serverless", "endpoints", "endpoint", ServerlessEndpoint)
PODS = ResourceKind("pods", "pods", "pod", RentedPod)
