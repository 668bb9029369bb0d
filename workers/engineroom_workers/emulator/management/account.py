"""What belongs to the emulated account: everything that the management API creates, by kind and id."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..faults import Faults
from ..jobs import Job
from ..options import EndpointOptions
from .catalog import Catalog
from .endpoint import Endpoint
from .fleet import Fleet
from .fronts import BalancedFront, Front, QueueFront
from .hosts import Host
from .identifiers import new_id
from .launcher import Launcher
from .ledger import Ledger
from .pod import Pod
from .programs import Programs
from .volume_folders import VolumeFolders

logger = logging.getLogger(__name__)

RECONCILE_S: Final = 0.1
"""Seconds between two looks at what the endpoints need."""
KEPT_ENDPOINTS: Final = 100
"""Deleted endpoints whose workers may still be ending."""


class Account:
    """One account. It lives in one event loop; run `watch` beside the server.

    options: those of each new queue endpoint, less its id and its time-out.
    templates, registries, volumes, delegations: their JSON by id.
    ssh_keys: the account's public keys.
    endpoints, pods: by id.

    Args:
        url: the emulator's, `http://host:port`.
        report: called with a line of text at everything that happens.
        on_finished: called with every job that has ended.
    """

    def __init__(
        self,
        url: str,
        host: Host,
        catalog: Catalog,
        programs: Programs,
        options: EndpointOptions,
        faults: Faults,
        report: Callable[[str], None],
        on_finished: Callable[[Job], None],
    ) -> None:
        self.url = url
        self.catalog = catalog
        self.options = options
        self.faults = faults
        self.ledger = Ledger()
        self._folders = VolumeFolders()
        self._launcher = Launcher(host, programs, self._folders)
        self.templates: dict[str, dict[str, Any]] = {}
        self.registries: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.delegations: dict[str, dict[str, Any]] = {}
        self.ssh_keys: list[str] = []
        self.endpoints: dict[str, Endpoint] = {}
        self.pods: dict[str, Pod] = {}
        self._deleted: dict[str, Endpoint] = {}
        self._report = report
        self._on_finished = on_finished

    def create_endpoint(self, config: dict[str, Any]) -> Endpoint:
        """A new endpoint with these settings; its first workers start soon."""
        endpoint_id = new_id()
        front = self._front(endpoint_id, config)
        fleet = Fleet(endpoint_id, front.traffic, self._launcher, self.catalog, self.ledger, self._report)
        front.replace_with(fleet.replace)
        endpoint = Endpoint(endpoint_id, config, front, fleet)
        self.endpoints[endpoint_id] = endpoint
        self._report(f"endpoint {endpoint_id} ({config['name']}) is created, {config['type']}, image {config['image']}")
        fleet.reconcile()
        return endpoint

    def delete_endpoint(self, endpoint: Endpoint) -> None:
        """Delete an endpoint; its workers end soon."""
        del self.endpoints[endpoint.id]
        self._deleted[endpoint.id] = endpoint
        while len(self._deleted) > KEPT_ENDPOINTS:
            del self._deleted[next(iter(self._deleted))]
        endpoint.close()
        self._report(f"endpoint {endpoint.id} ({endpoint.config['name']}) is deleted")

    def create_pod(self, config: dict[str, Any], places: Sequence[str], with_ssh: bool, with_jupyter: bool) -> Pod:
        """A new pod with these settings in one of these data centres, or in any; its container starts soon."""
        injected = {}
        if with_ssh and self.ssh_keys:
            injected["PUBLIC_KEY"] = "\n".join(self.ssh_keys)
        if with_jupyter:
            injected["JUPYTER_PASSWORD"] = new_id()
        place = next(iter(places or self.catalog.data_centers))
        pod = Pod(new_id(), config, place, injected, self._launcher, self.catalog, self.ledger, self._report)
        self.pods[pod.id] = pod
        self._report(f"pod {pod.id} ({config['name']}) is created, image {config['image']}")
        return pod

    def delete_pod(self, pod: Pod) -> None:
        """Terminate a pod, which nobody sees any more."""
        del self.pods[pod.id]
        pod.act("terminate")
        self._folders.remove(pod.id)

    def create_volume(self, given: dict[str, Any]) -> dict[str, Any]:
        """A new network volume with these settings."""
        volume = {"id": new_id(), **given}
        self.volumes[volume["id"]] = volume
        return volume

    def update_volume(self, volume: dict[str, Any], given: dict[str, Any]) -> None:
        """Change a network volume."""
        volume.update(given)

    def delete_volume(self, volume: dict[str, Any]) -> None:
        """Delete a network volume, and what is on it."""
        self._folders.remove(volume["id"])
        del self.volumes[volume["id"]]

    def users_of_volume(self, volume_id: str) -> list[str]:
        """What a network volume is mounted into, in words."""
        endpoints = self.endpoints.values()
        users = [f"endpoint {one.id}" for one in endpoints if volume_id in one.config["networkVolumes"]]
        for pod in self.pods.values():
            if any(mount["volumeId"] == volume_id for mount in pod.config["mounts"].get("network", ())):
                users.append(f"pod {pod.id}")
        return users

    def pods_with_registry(self, registry_id: str) -> list[str]:
        """The pods that use a registry's credentials, in words."""
        return [f"pod {pod.id}" for pod in self.pods.values() if pod.config["registry"] == registry_id]

    def delete_registry(self, registry_id: str) -> None:
        """Delete a registry's credentials, which templates lose."""
        del self.registries[registry_id]
        for template in self.templates.values():
            if template["registry"] == registry_id:
                template["registry"] = None

    def front_of(self, endpoint_id: str) -> Front | None:
        """What an endpoint's clients and workers speak to, also for a while after its end."""
        endpoint = self.endpoints.get(endpoint_id) or self._deleted.get(endpoint_id)
        return None if endpoint is None else endpoint.front

    async def watch(self) -> None:
        """Look after all endpoints, until this is cancelled."""
        while True:
            for endpoint in list(self.endpoints.values()):
                self._guarded(endpoint.fleet.reconcile)
            for pod in list(self.pods.values()):
                self._guarded(pod.advance)
            await asyncio.sleep(RECONCILE_S)

    @staticmethod
    def _guarded(look: Callable[[], None]) -> None:
        """Look after one thing; where that fails, the others still go on."""
        try:
            look()
        except Exception:
            logger.exception("the emulator failed")

    def remove_folders(self) -> None:
        """Remove what is on the volumes, when everything has ended."""
        self._folders.close()

    def close(self) -> None:
        """End everything that runs."""
        for endpoint in list(self.endpoints.values()):
            self.delete_endpoint(endpoint)
        for pod in list(self.pods.values()):
            self.delete_pod(pod)

    def _front(self, endpoint_id: str, config: dict[str, Any]) -> Front:
        options = dataclasses.replace(self.options, endpoint_id=endpoint_id, execution_timeout=config["timeout"] / 1000)
        if config["type"] == "LOAD_BALANCER":
            return BalancedFront(self.url, options)
        return QueueFront(self.url, options, self.faults, self._on_finished)
