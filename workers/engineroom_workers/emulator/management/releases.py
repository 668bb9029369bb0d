"""The versions of an endpoint's settings, and how far its workers have followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .identifiers import new_id, timestamp


@dataclass(frozen=True)
class Release:
    """One change of the settings."""

    version: int
    diff: Sequence[dict[str, Any]]
    created_at: float
    id: str = field(default_factory=new_id)

    def as_json(self, workers: int) -> dict[str, Any]:
        """The release as the management API shows it, with how many workers run it."""
        return {
            "id": self.id,
            "version": self.version,
            "source": "MANUAL",
            "buildId": None,
            "createdByUserId": None,
            "workerCount": workers,
            "createdAt": timestamp(self.created_at),
            "diff": list(self.diff),
        }


def releases_as_json(releases: Sequence[Release], version: int, workers: Sequence[int]) -> dict[str, Any]:
    """All releases, the newest first, and the progress of the newest.

    Args:
        version: the endpoint's present one.
        workers: the version that each worker runs.
    """
    latest = sum(one == version for one in workers)
    return {
        "endpointVersion": version,
        "rollout": {
            "inProgress": latest < len(workers),
            "workersOnLatest": latest,
            "workersTotal": len(workers),
            "percentOnLatest": round(100 * latest / len(workers)) if workers else 0,
        },
        "releases": [release.as_json(workers.count(release.version)) for release in reversed(releases)],
    }
