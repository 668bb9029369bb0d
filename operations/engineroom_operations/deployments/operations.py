"""What can be done to a deployment."""

from __future__ import annotations

from typing import Any

from engineroom.errors import EngineroomError

from ..deploy.wanted import template_name
from ..runpod_api.bodies import WorkerCounts
from ..runpod_api.client import RunPodClient
from ..runpod_api.resources import ENDPOINTS, PODS, TEMPLATES, RentedPod, ResourceKind
from .deployment import Deployment


class NotPossibleError(EngineroomError):
    """That cannot be done to a deployment of this kind, or now. The text says what can."""


async def scale(api: RunPodClient, deployment: Deployment, counts: WorkerCounts) -> str:
    """Change how many workers an endpoint may have; what was done, in words."""
    resource = deployment.resource
    if isinstance(resource, RentedPod):
        raise NotPossibleError(f"{deployment.name} is a pod, which is one machine: `stop` and `start` it")
    limits = resource.workers
    lowest = counts.min if isinstance(counts.min, int) else limits.min
    highest = counts.max if isinstance(counts.max, int) else limits.max
    if lowest > highest:
        raise NotPossibleError(f"--min {lowest} is more than --max {highest}")
    await api.update(ENDPOINTS, deployment.id, {"workers": {**_counts(deployment), **counts.json()}})
    return f"{deployment.name} has {lowest} to {highest} workers now"


async def stop(api: RunPodClient, deployment: Deployment) -> str:
    """End what costs by the hour, and keep the deployment; what was done, in words."""
    resource = deployment.resource
    if isinstance(resource, RentedPod):
        if resource.status == "EXITED":
            return f"{deployment.name} is stopped already"
        await api.pod_action(deployment.id, "stop")
        return f"{deployment.name} stops; its disk stays, and is billed"
    if resource.workers.max == 0:
        return f"{deployment.name} is stopped already"
    await api.update(ENDPOINTS, deployment.id, {"workers": {**_counts(deployment), "min": 0, "max": 0}})
    highest = resource.workers.max
    return (
        f"{deployment.name} gets no workers any more, and requests wait in vain; "
        f"`engineroom deployments start {deployment.name} --max {highest}` undoes it"
    )


async def start(api: RunPodClient, deployment: Deployment, lowest: int, highest: int) -> str:
    """Start a pod, or let an endpoint have workers again; what was done, in words."""
    resource = deployment.resource
    if isinstance(resource, RentedPod):
        if resource.status in ("RUNNING", "STARTING", "PROVISIONING"):
            return f"{deployment.name} is {resource.status} already"
        await api.pod_action(deployment.id, "start")
        return f"{deployment.name} starts"
    if resource.workers.max > 0:
        return f"{deployment.name} may have {resource.workers.max} workers already; `scale` changes that"
    workers = {**_counts(deployment), "min": lowest, "max": highest}
    await api.update(ENDPOINTS, deployment.id, {"workers": workers})
    return f"{deployment.name} has {lowest} to {highest} workers now"


async def delete(api: RunPodClient, deployment: Deployment) -> list[str]:
    """Delete a deployment and its own template; what was done, and what stays, in words."""
    kind: ResourceKind[Any] = PODS if deployment.kind == "pod" else ENDPOINTS
    await api.delete(kind, deployment.id)
    lines = [f"deleted the {deployment.kind} {deployment.name} ({deployment.id})"]
    for template in await api.named(TEMPLATES, template_name(deployment.name)):
        await api.delete(TEMPLATES, template.id)
        lines.append(f"deleted its template {template.name} ({template.id})")
    volumes = _volumes(deployment)
    if volumes:
        lines.append(f"the network volume {' and '.join(volumes)} stays, and is billed until you delete it")
    return lines


def _counts(deployment: Deployment) -> dict[str, int]:
    """The workers that an endpoint may have, as its own answer has them: an idle time-out only where it has one."""
    resource = deployment.resource
    assert not isinstance(resource, RentedPod)
    limits = resource.workers
    idle = {} if limits.idle_timeout is None else {"idleTimeout": limits.idle_timeout}
    return {"min": limits.min, "max": limits.max, **idle}


def _volumes(deployment: Deployment) -> list[str]:
    resource = deployment.resource
    if isinstance(resource, RentedPod):
        return [mount.volume_id for mount in resource.mounts.network]
    return list(resource.network_volumes)
