"""The figures of a run as they are written to JSON, read again for a comparison, and shown in every report."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

FORMAT = "engineroom-bench/1"


class Distribution(msgspec.Struct, frozen=True):
    """Durations in milliseconds. Percentiles are within 0.1 %, the rest is exact."""

    count: int = 0
    min: float = 0
    mean: float = 0
    median: float = 0
    p90: float = 0
    p95: float = 0
    p99: float = 0
    max: float = 0
    stdev: float = 0


class Failures(msgspec.Struct, frozen=True):
    """Requests that failed in one way. example: what the server or the network said, of the first."""

    count: int
    example: str
    remedy: str


class Slice(msgspec.Struct, frozen=True):
    """What a stage saw in one slice of its time, for the pictures over time."""

    at_s: float
    seconds: float
    requests: int
    failed: int
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    inter_token_p50_ms: float
    inter_token_p99_ms: float


class Bar(msgspec.Struct, frozen=True):
    """A bar of a distribution's picture: how many lie between."""

    from_ms: float
    to_ms: float
    count: int


class ServerFigures(msgspec.Struct, frozen=True):
    """What the server's own /metrics tell of a stage; None for what they do not have.

    running, waiting: requests, on average over the stage.
    cache_used_peak: share of the key-value cache, 0 to 1.
    queue_ms, prefill_ms, decode_ms, ttft_ms: mean of a request.
    prefix_hit_share: tokens of prompts that a cache of prefixes had, 0 to 1.
    """

    running: float | None = None
    running_peak: float | None = None
    waiting: float | None = None
    waiting_peak: float | None = None
    cache_used_peak: float | None = None
    preemptions: float | None = None
    queue_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    ttft_ms: float | None = None
    prefix_hit_share: float | None = None


class Stage(msgspec.Struct, frozen=True):
    """One level of load.

    streams: requests at once, of a closed loop; 0 for an open one.
    rate: requests a second that arrived, of an open loop; 0 for a closed one.
    seconds: from the first request to the last answer.
    tokens_by_usage, tokens_by_events: requests whose tokens the server counted; and those whose events were counted.
    given_up: requests that were under way when the run was stopped; they are in no figure.
    goodput_per_s: successes a second that kept the objectives, or all successes where there are none.
    send_lag: from when a request was due to when it was sent.
    own_cpu_share: CPU of this program, as a share of a core.
    """

    label: str
    streams: int
    rate: float
    arrivals: str
    seconds: float
    requests: int
    succeeded: int
    failed: int
    given_up: int
    failures: Mapping[str, Failures]
    requests_per_s: float
    goodput_per_s: float
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    tokens_by_usage: int
    tokens_by_events: int
    tokens_in_per_s: float
    tokens_out_per_s: float
    ttft: Distribution
    inter_token: Distribution
    token: Distribution
    end_to_end: Distribution
    send_lag: Distribution
    extra: Mapping[str, Distribution]
    slices: list[Slice]
    ttft_bars: list[Bar]
    own_cpu_share: float
    own_cpu_us_a_token: float
    own_memory_mb: float
    met: bool | None
    server: ServerFigures

    @property
    def success_share(self) -> float:
        return self.succeeded / self.requests if self.requests else 0.0


class Objectives(msgspec.Struct, frozen=True):
    """What users are promised: 99 of 100 requests have it.

    ttft_ms: the first token within this.
    tokens_per_s: tokens a second of a stream, at least.
    """

    ttft_ms: float | None = None
    tokens_per_s: float | None = None

    @property
    def given(self) -> bool:
        return self.ttft_ms is not None or self.tokens_per_s is not None

    def __str__(self) -> str:
        parts = []
        if self.ttft_ms is not None:
            parts.append(f"P99 TTFT ≤ {self.ttft_ms:g} ms")
        if self.tokens_per_s is not None:
            parts.append(f"≥ {self.tokens_per_s:g} tokens/s a stream")
        return " and ".join(parts) or "none"


class Advice(msgspec.Struct, frozen=True):
    """What limits, and what to try. rule: which rule says so."""

    rule: str
    limit: str
    remedy: str


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    target: str
    model: str
    surface: str
    scenario: str
    parameters: Mapping[str, str]
    started_at: str
    seconds: float
    engineroom: str
    objectives: Objectives
    stages: list[Stage]
    best: str
    interrupted: bool
    notes: list[str]
    verdict: list[Advice]
    format: str = FORMAT
