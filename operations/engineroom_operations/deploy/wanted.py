"""What is wanted, as the requests that create it: a pure function of the file, the settings and the hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from engineroom.hardware import GpuCatalog
from engineroom.runpod_account import DeploymentKind, port_of

from ..runpod_api.bodies import (
    CpuRequest,
    EndpointBody,
    EndpointGpuRequest,
    NetworkMount,
    PodBody,
    PodGpuRequest,
    PodMounts,
    QueueDelay,
    RegistryBody,
    RequestCount,
    Scaling,
    TemplateBody,
    VolumeBody,
    WorkerCounts,
)
from ..runpod_api.resources import ENDPOINTS, PODS, REGISTRIES, TEMPLATES, VOLUMES
from .deployment_file import DeploymentFile
from .hardware import Hardware
from .plan import WantedResource, placeholder
from .worker_variables import WorkerVariables

MOUNT_PATH = "/runpod-volume"
"""Where an endpoint's workers have their network volume, and where the worker keeps models: BASE_PATH."""
DISK_GB = 50
"""Of a container, where neither the file nor the model's size says more."""
QUEUE_DELAY_S = 4.0
REQUESTS_AT_A_TIME = 30
"""How many requests a worker takes at a time by default: MAX_CONCURRENCY."""


@dataclass(frozen=True)
class Specification:
    """Everything that decides what is wanted.

    image: its full name. min_cuda: the oldest CUDA that a machine's driver must know; empty for any.
    disk: GB. data_center: of the volume.
    password: of the registry; empty where the credential exists and is to stay.
    existing_template: the id of somebody else's template to start from; empty for one of our own, or none. What it has
        beside the image and the environment is in template_ports and template_registry.
    """

    name: str
    kind: DeploymentKind
    file: DeploymentFile
    image: str
    variables: WorkerVariables
    hardware: Hardware
    min_cuda: str = ""
    disk: int = DISK_GB
    data_center: str = ""
    username: str = ""
    password: str = ""
    existing_template: str = ""
    template_ports: tuple[str, ...] = ()
    template_registry: str | None = None


def wanted_resources(spec: Specification) -> list[WantedResource]:
    """The resources, those first that others refer to."""
    wanted: list[WantedResource] = []
    if spec.file.registry is not None:
        wanted.append(_registry(spec))
    if spec.file.volume is not None:
        wanted.append(_volume(spec))
    if spec.file.template is True:
        wanted.append(_template(spec))
    wanted.append(_pod(spec) if spec.kind == "pod" else _endpoint(spec))
    return wanted


def template_name(name: str) -> str:
    """What a deployment's own template is called. Endpoints have hidden templates of their own name."""
    return f"{name}-template"


def _registry(spec: Specification) -> WantedResource:
    section = spec.file.registry
    assert section is not None
    body = RegistryBody(name=section.name, username=spec.username, password=spec.password).json()
    # RunPod shows neither, so a difference cannot be seen: another password wants another name.
    return WantedResource(
        REGISTRIES,
        section.name,
        body,
        only_created=frozenset({"username", "password"}),
        secrets=frozenset({"password", "username"}),
    )


def _volume(spec: Specification) -> WantedResource:
    section = spec.file.volume
    assert section is not None
    body = VolumeBody(
        name=section.name, size=section.size, data_center=spec.data_center, type=section.type or UNSET
    ).json()
    return WantedResource(VOLUMES, section.name, body, fixed=frozenset({"dataCenter", "type"}), keeps_data=True)


def _container(spec: Specification, env: Mapping[str, str]) -> dict[str, Any]:
    registry = spec.file.registry
    own_ports = [] if spec.kind == "queue" else [f"{port_of(spec.variables.values)}/http"]
    return {
        "image": spec.image,
        "disk": spec.disk,
        "env": dict(env),
        "ports": list(dict.fromkeys([*spec.template_ports, *own_ports])),
        "registry": placeholder(REGISTRIES, registry.name) if registry is not None else spec.template_registry,
    }


def _template(spec: Specification) -> WantedResource:
    """The template has no secrets: whoever may read templates need not read those."""
    name = template_name(spec.name)
    body = TemplateBody(
        name=name,
        **_container(spec, spec.variables.open_values),
        category="CPU" if spec.hardware.cpu else "NVIDIA",
        serverless=spec.kind != "pod",
        public=False,
        start_ssh=False,
        start_jupyter=False,
    ).json()
    return WantedResource(TEMPLATES, name, body, secrets=_secrets(spec))


def _secrets(spec: Specification) -> frozenset[str]:
    return frozenset(f"env.{name}" for name in spec.variables.secrets)


def _template_id(spec: Specification) -> str:
    if spec.existing_template:
        return spec.existing_template
    return placeholder(TEMPLATES, template_name(spec.name)) if spec.file.template is True else ""


def _endpoint(spec: Specification) -> WantedResource:
    file = spec.file
    hardware = spec.hardware
    volume = file.volume
    gpu = EndpointGpuRequest(
        pools=list(hardware.pools),
        excluded_types=list(hardware.excluded),
        count=hardware.count,
        min_cuda_version=spec.min_cuda or UNSET,
    )
    cpu = [CpuRequest(id=hardware.cpu[0], vcpu_count=hardware.cpu[1])] if hardware.cpu else UNSET
    data_centers = [spec.data_center] if volume is not None else list(file.data_centers)
    body = EndpointBody(
        name=spec.name,
        **_container(spec, spec.variables.values),
        type="QUEUE" if spec.kind == "queue" else "LOAD_BALANCER",
        gpu=UNSET if hardware.cpu else gpu,
        cpu=cpu,
        workers=_workers(spec),
        scaling=_scaling(spec),
        data_center_ids=data_centers,
        network_volumes=[placeholder(VOLUMES, volume.name)] if volume is not None else [],
        timeout=file.timeout * 1000,
        flashboot=file.flashboot,
        template_id=_template_id(spec) or UNSET,
    ).json()
    return WantedResource(
        ENDPOINTS,
        spec.name,
        body,
        fixed=frozenset({"type", "gpu" if hardware.cpu else "cpu"}),
        only_created=frozenset({"templateId"}),
        secrets=_secrets(spec),
    )


def _workers(spec: Specification) -> WorkerCounts:
    given = spec.file.workers
    # A queue that scales by the count of requests has no idle time-out, and refuses one.
    has_idle_timeout = spec.kind != "queue" or isinstance(_scaling(spec), QueueDelay)
    return WorkerCounts(min=given.min, max=given.max, idle_timeout=given.idle_timeout if has_idle_timeout else UNSET)


def _scaling(spec: Specification) -> Scaling:
    section = spec.file.scaling
    if section is not None and section.queue_delay is not None:
        return QueueDelay(queue_delay=section.queue_delay)
    if section is not None and section.request_count is not None:
        return RequestCount(request_count=section.request_count)
    if spec.kind == "queue":
        return QueueDelay(queue_delay=QUEUE_DELAY_S)
    at_a_time = spec.variables.values.get("MAX_CONCURRENCY", "")
    return RequestCount(request_count=int(at_a_time) if at_a_time.isdecimal() else REQUESTS_AT_A_TIME)


def _pod(spec: Specification) -> WantedResource:
    file = spec.file
    hardware = spec.hardware
    volume = file.volume
    mounts = [NetworkMount(volume_id=placeholder(VOLUMES, volume.name), path=MOUNT_PATH)] if volume is not None else []
    data_centers = [spec.data_center] if volume is not None else list(file.data_centers)
    body = PodBody(
        name=spec.name,
        **_container(spec, spec.variables.values),
        cloud=file.cloud if hardware.cpu is None else UNSET,
        cpu=CpuRequest(id=hardware.cpu[0], vcpu_count=hardware.cpu[1]) if hardware.cpu else UNSET,
        data_center_ids=data_centers or UNSET,
        mounts=PodMounts(network=mounts) if mounts else UNSET,
        template_id=_template_id(spec) or UNSET,
    ).json()
    choices = [
        PodGpuRequest(id=choice.gpu.id, count=choice.count, min_cuda_version=spec.min_cuda or UNSET).json()
        for choice in hardware.pods
    ]
    bodies = [{**body, "gpu": choice} for choice in choices] or [body]
    return WantedResource(
        PODS,
        spec.name,
        bodies[0],
        fixed=frozenset({"gpu", "gpu.id", "gpu.count", "cpu", "cpu.id", "cpu.vcpuCount", "cloud", "dataCenterIds"})
        | {"mounts.network"},
        only_created=frozenset({"templateId", "gpu.minCudaVersion"}),
        one_of={"dataCenterIds": "dataCenterId"},
        empty=frozenset() if volume is not None else frozenset({"mounts.network"}),
        candidates=tuple(bodies[1:]),
        secrets=_secrets(spec),
    )


def gpu_price(hardware: Hardware, catalog: GpuCatalog, kind: DeploymentKind, cloud: str) -> float | None:
    """USD an hour for a pod or for one worker, the dearest that it may be; None where RunPod states no price."""
    prices: list[float] = []
    if kind == "pod":
        for choice in hardware.pods:
            price = choice.gpu.secure_usd if cloud == "SECURE" else choice.gpu.community_usd
            prices += [price * choice.count] if price is not None else []
    else:
        listed = [gpu.serverless_usd for gpu in hardware.types(catalog)]
        prices = [price * hardware.count for price in listed if price is not None]
    return max(prices, default=None)
