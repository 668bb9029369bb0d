"""What a look at one target shows: figures without a form, for a screen, a line or a program."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from ..runpod_api.resources import EndpointWorker
from ..scraping.snapshot import GPU, ModelResidence

TargetState: TypeAlias = Literal["up", "not ready", "away", "unknown"]
"""It answers; it answers and serves no requests yet, or no more; it does not answer; nobody has looked, or may."""


class Percentiles(NamedTuple):
    """Of the last minute, in seconds; None without samples."""

    p50: float | None
    p90: float | None
    p99: float | None


@dataclass(slots=True)
class Reading:
    """One target at one moment; None for what it does not measure, or cannot yet be known.

    seconds: since the epoch.
    reason: why it is not up, or what is missing of its figures.
    for_s: seconds for which it has been in this state; None where it was never seen in another.
    restarts: how often its counters have begun anew since the monitor started.
    rates: a second, over the last few seconds. errors are answers of 4xx and 5xx, and jobs that failed; clients that
        left before their answer was complete (499) are counted apart.
    residence: a worker's models, where it has several that come and go.
    cache_usage: share of the memory for tokens that is in use; prefix_hits: share of prompts' tokens that were in it.
    workers: how many an endpoint has, by their state; each: the same one by one, where RunPod's management API tells.
    """

    name: str
    url: str
    seconds: float
    state: TargetState = "unknown"
    reason: str = ""
    for_s: float | None = None
    restarts: int = 0
    models: list[str] = field(default_factory=list)
    residence: list[ModelResidence] = field(default_factory=list)
    running: float | None = None
    waiting: float | None = None
    prompt_tokens_per_s: float | None = None
    completion_tokens_per_s: float | None = None
    requests_per_s: float | None = None
    errors_per_s: float | None = None
    errors: float | None = None
    clients_left: float | None = None
    time_to_first_token: Percentiles | None = None
    inter_token: Percentiles | None = None
    request_time: Percentiles | None = None
    cache_usage: float | None = None
    prefix_hits: float | None = None
    preemptions_per_s: float | None = None
    engine_cpus: float | None = None
    engine_memory: float | None = None
    gpus: list[GPU] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)
    each_worker: list[EndpointWorker] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON has it: times in seconds, memory in bytes, shares from 0 to 1."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("time_to_first_token", "inter_token", "request_time"):
            value = getattr(self, name)
            content[name] = None if value is None else value._asdict()
        content["residence"] = [model._asdict() for model in self.residence]
        content["gpus"] = [gpu._asdict() for gpu in self.gpus]
        content["each_worker"] = [msgspec.structs.asdict(worker) for worker in self.each_worker]
        return content
