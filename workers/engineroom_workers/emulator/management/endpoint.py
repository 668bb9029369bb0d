"""One serverless endpoint: its settings with their history, its front for clients, and its workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .fleet import Fleet
from .fronts import Front
from .identifiers import timestamp
from .releases import Release, releases_as_json
from .rules.endpoints import difference, needs_new_workers


class Endpoint:
    """An endpoint that exists until `close`."""

    def __init__(self, endpoint_id: str, config: dict[str, Any], front: Front, fleet: Fleet) -> None:
        self.id = endpoint_id
        self.config = config
        self.front = front
        self.fleet = fleet
        self.version = 1
        self.created_at = time.time()
        self.releases = [Release(1, difference({}, config), self.created_at)]
        fleet.configure(config, self.version, replace=False)

    def update(self, config: dict[str, Any]) -> None:
        """Take other settings; a change makes a release, and its workers are replaced where they must be."""
        changes = difference(self.config, config)
        if not changes:
            return
        self.version += 1
        self.releases.append(Release(self.version, changes, time.time()))
        self.config = config
        self.front.configure(config)
        self.fleet.configure(config, self.version, needs_new_workers(changes))
        self.fleet.reconcile()

    def close(self) -> None:
        """Cancel what clients wait for, and end all workers."""
        self.front.close()
        self.fleet.close()

    def as_json(self) -> dict[str, Any]:
        """The endpoint as the management API shows it."""
        return {
            "id": self.id,
            **self.config,
            "requestUrls": self.front.request_urls(self.config["env"]),
            "createdAt": timestamp(self.created_at),
        }

    def workers_as_json(self) -> dict[str, Any]:
        """The workers, and how many there are in each state."""
        workers = [self.fleet.as_json(worker) for worker in self.fleet.workers.values()]
        return {
            "endpointVersion": self.version,
            "summary": _summary(workers),
            "workers": workers,
        }

    def releases_as_json(self) -> dict[str, Any]:
        """The releases, and how many workers run the newest."""
        versions = [worker.version for worker in self.fleet.workers.values()]
        return releases_as_json(self.releases, self.version, versions)


def _summary(workers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(worker["status"] for worker in workers)
    states = ("RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY")
    return {**{state.lower(): counts[state] for state in states}, "total": len(workers)}
