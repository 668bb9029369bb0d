"""What a person can choose about the emulated endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

HungUpPoll: TypeAlias = Literal["keep", "lose", "proxy", "ignore"]

DEFAULT_HOLD_S = 10.0
"""How long the emulator holds a poll by default. The platform's value is not known; the SDK waits for 90 s."""

SECTIONS: Final = frozenset(
    {"account", "pods", "clusters", "serverless", "templates", "network-volumes", "registries", "catalog", "billing"}
)
"""The words that follow `/v2/` in the management API, and so are no endpoint's id."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """One emulated endpoint. All times are in seconds.

    endpoint_id: the `<id>` of `/v2/<id>/...`.
    api_key: the key that clients must send; with None any client is served.
    hold: how long job-take and job-stop keep a poll open before they answer 204.
    execution_timeout: how long a worker may work on a job, unless the job's `policy` says otherwise.
    ttl: how long a job may exist unfinished, unless its `policy` says otherwise.
    ping_interval: how often workers are asked to ping. A worker that has pinged once and then misses three pings is
        lost. The SDK counts whole seconds, so this is at least 1.
    max_attempts: how often a job is handed out in all. If the last worker vanishes, too, the job becomes FAILED.
    limits: whether the platform's rate limits are enforced.
    hung_up_poll: what becomes of a job-take poll whose worker has closed its half of the connection. RunPod's way is
        not known: `keep` ends the poll, and the jobs stay in the queue; `lose` closes the connection, and still hands
        the next job to that poll; `proxy` does so only until the platform hears of it from a proxy that closed the
        connection; `ignore` keeps the connection half open, and answers the poll as if nothing had happened.
    """

    endpoint_id: str = "emulated"
    api_key: str | None = None
    hold: float = DEFAULT_HOLD_S
    execution_timeout: float = 600.0
    ttl: float = 86_400.0
    ping_interval: float = 10.0
    max_attempts: int = 3
    limits: bool = False
    hung_up_poll: HungUpPoll = "keep"
