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
from ..runpod_api.resources import ENDPOINTS, PODS, EndpointWorker, GpuOffer, RentedPod, ServerlessEndpoint

_STATES = ("RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY")
_UNPAID = "THROTTLED"
"""The state of a worker that waits for a machine."""


class NoDeploymentError(EngineroomError):
    """There is no deployment of that name, or more than one. The text says which there are."""


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

    def usd_per_hour(self, prices: Mapping[str, float]) -> float | None:
        """What it costs now; None where that is not known.

        Args:
            prices: id of a type of GPU -> USD an hour of one, serverless.
        """
        if isinstance(self.resource, RentedPod):
            return self.resource.cost
        paid = [worker for worker in self.workers if worker.status != _UNPAID]
        if not paid:
            return 0.0
        if any(worker.gpu_type_id not in prices for worker in paid):
            return None
        return sum(prices[worker.gpu_type_id or ""] * worker.gpu_count for worker in paid)


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


def gpu_prices(offers: Sequence[GpuOffer]) -> dict[str, float]:
    """Id of a type of GPU -> USD an hour of one in a worker."""
    return {offer.id: offer.price.serverless for offer in offers if offer.price.serverless is not None}


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
