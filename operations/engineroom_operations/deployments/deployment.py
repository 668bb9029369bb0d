"""A pod or an endpoint of the account, as people know it: by its name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engineroom.errors import EngineroomError
from engineroom.runpod_account import (
    DeploymentKind,
    RunPodAccount,
    balancer_url,
    plain_name,
    port_of,
    queue_url,
)

from ..runpod_api.client import RunPodClient
from ..runpod_api.resources import ENDPOINTS, PODS, EndpointWorker, RentedPod, ServerlessEndpoint

_STATES = ("RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY")
_UNPAID = "THROTTLED"
"""The state of a worker that waits for a machine."""


class NoDeploymentError(EngineroomError):
    """There is no deployment of that name, or more than one. The text says which there are."""


@dataclass(frozen=True)
class WorkerPrices:
    """USD an hour of one GPU and of one vCPU of an endpoint's worker, by the id of their type."""

    gpus: Mapping[str, float]
    cpus: Mapping[str, float]

    @classmethod
    async def of_now(cls, api: RunPodClient) -> WorkerPrices:
        """RunPod's catalog."""
        gpus, cpus = await asyncio.gather(api.gpus("SERVERLESS"), api.cpus())
        gpu_prices = {each.id: each.price.serverless for each in gpus if each.price.serverless is not None}
        cpu_prices = {each.id: each.price.serverless_per_vcpu for each in cpus if each.price.serverless_per_vcpu}
        return cls(gpu_prices, cpu_prices)

    def of(self, worker: EndpointWorker, endpoint: ServerlessEndpoint) -> float | None:
        """What a worker costs; None where it is on nothing that the catalog has."""
        if worker.gpu_type_id is not None:
            price = self.gpus.get(worker.gpu_type_id)
            return None if price is None else price * worker.gpu_count
        if worker.started_at is None:
            return 0.0
        shapes = [(self.cpus.get(cpu.id), cpu.vcpu_count) for cpu in endpoint.cpu]
        prices = [price * count for price, count in shapes if price is not None]
        return max(prices, default=None)


@dataclass(frozen=True)
class Deployment:
    """One of them. workers: of an endpoint; empty for a pod."""

    resource: RentedPod | ServerlessEndpoint
    url: str
    workers: tuple[EndpointWorker, ...] = ()

    @property
    def name(self) -> str:
        return plain_name(self.resource.name)

    @property
    def id(self) -> str:
        return self.resource.id

    @property
    def kind(self) -> DeploymentKind:
        if isinstance(self.resource, RentedPod):
            return "pod"
        return "load-balancer" if self.resource.type == "LOAD_BALANCER" else "queue"

    @property
    def state(self) -> str:
        """How it is, in a word or a few: a pod's status, or how many workers are in which state."""
        if isinstance(self.resource, RentedPod):
            return self.resource.status
        counts = Counter(worker.status for worker in self.workers)
        words = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
        if words:
            return ", ".join(words)
        return "stopped" if self.resource.workers.max == 0 else "no worker"

    def usd_per_hour(self, prices: WorkerPrices) -> float | None:
        """What it costs now; None where that is not known."""
        if isinstance(self.resource, RentedPod):
            return self.resource.cost
        paid = [prices.of(worker, self.resource) for worker in self.workers if worker.status != _UNPAID]
        known = [price for price in paid if price is not None]
        return sum(known) if len(known) == len(paid) else None


async def all_deployments(api: RunPodClient) -> list[Deployment]:
    """Every pod and endpoint of the account, by name."""
    pods, endpoints = await asyncio.gather(api.all_of(PODS), api.all_of(ENDPOINTS))
    deployments = [_of_pod(api.account, pod) for pod in pods if pod.status != "TERMINATED"]
    deployments += await asyncio.gather(*(_of_endpoint(api, endpoint) for endpoint in endpoints))
    return sorted(deployments, key=lambda deployment: (deployment.name, deployment.id))


async def find_deployment(api: RunPodClient, name: str) -> Deployment:
    """The deployment of that name or id.

    Raises:
        NoDeploymentError: there is none, or more than one.
    """
    pods, endpoints = await asyncio.gather(api.all_of(PODS), api.all_of(ENDPOINTS))
    resources: list[RentedPod | ServerlessEndpoint] = [pod for pod in pods if pod.status != "TERMINATED"]
    resources += endpoints
    matching = [each for each in resources if each.id == name]
    matching = matching or [each for each in resources if plain_name(each.name) == name]
    if len(matching) > 1:
        ids = " and ".join(each.id for each in matching)
        raise NoDeploymentError(f"{name} is the name of several deployments: say which by its id, {ids}")
    if not matching:
        raise NoDeploymentError(_no_such(name, resources))
    resource = matching[0]
    return _of_pod(api.account, resource) if isinstance(resource, RentedPod) else await _of_endpoint(api, resource)


def _no_such(name: str, resources: Sequence[RentedPod | ServerlessEndpoint]) -> str:
    names = ", ".join(sorted({plain_name(each.name) for each in resources}))
    return (
        f"there is no deployment {name}; there are {names}" if names else f"there is no deployment {name}, and no other"
    )


def _of_pod(account: RunPodAccount, pod: RentedPod) -> Deployment:
    return Deployment(pod, account.pod_url(pod.id, port_of(pod.env)) + "/v1")


async def _of_endpoint(api: RunPodClient, endpoint: ServerlessEndpoint) -> Deployment:
    urls = endpoint.request_urls
    url = balancer_url(urls) if endpoint.type == "LOAD_BALANCER" else queue_url(urls)
    workers = await api.workers(endpoint.id)
    return Deployment(endpoint, url, tuple(workers.workers))
