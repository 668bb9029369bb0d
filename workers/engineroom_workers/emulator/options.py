"""What is fixed while an emulator runs: the endpoint's identity and its time limits."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1024 * 1024

MAX_RUN = 10 * MB
"""Largest body of `/run` (RunPod's documentation)."""
MAX_RUNSYNC = 20 * MB
"""Largest body of `/runsync` (RunPod's documentation); `/openai/*` is held to the same."""
MAX_CHUNK = 1 * MB
"""Largest body of one job-stream POST (RunPod's documentation)."""
MAX_RESULT = 20 * MB
"""Largest body of a job-done POST; above it the platform answers 400 (worker-comfyui#129)."""

HOLD_S = 10.0
"""How long a poll is held by default. The platform's value is not known; the SDK waits for 90 s."""


@dataclass(frozen=True, slots=True)
class Options:
    """One emulated endpoint. All times are seconds.

    endpoint_id: the `<id>` of `/v2/<id>/...`.
    api_key: the key that clients must send; None takes any client.
    hold: how long job-take and job-stop keep a poll open before they answer 204.
    execution_timeout: how long a worker may work on a job, unless its `policy` says otherwise.
    ttl: how long a job may exist unfinished, unless its `policy` says otherwise.
    ping_interval: what workers are told to keep to; one that pinged and then misses three is gone. The SDK counts
        whole seconds, so at least 1.
    max_attempts: how often a job is handed out in all before a vanishing worker makes it FAILED.
    limits: whether the platform's rate limits are enforced.
    """

    endpoint_id: str = "emulated"
    api_key: str | None = None
    hold: float = HOLD_S
    execution_timeout: float = 600.0
    ttl: float = 86_400.0
    ping_interval: float = 10.0
    max_attempts: int = 3
    limits: bool = False
