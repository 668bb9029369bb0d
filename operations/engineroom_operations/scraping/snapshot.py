"""What one scrape of one server says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from engineroom.engine import Measure

from .exposition import Histogram


class GPU(NamedTuple):
    """A GPU. utilisation: 0 to 1; memory in bytes; temperature in °C; power in W. None for what it does not have."""

    number: str
    utilisation: float | None = None
    memory_used: float | None = None
    memory_total: float | None = None
    temperature: float | None = None
    power: float | None = None


class ModelResidence(NamedTuple):
    """One of several models of a worker of ours.

    phase: `absent`, `loading`, `resident`, `draining`, `unloading`, ….
    running, waiting: its requests; longest_wait_s: for how long the first of those has waited.
    memory: bytes that it takes, or would; None where nobody knows.
    loads, unloads, failures: since the worker's start; a failure is a load that did not come about.
    """

    name: str
    phase: str
    running: float = 0
    waiting: float = 0
    longest_wait_s: float = 0
    memory: float | None = None
    loads: float = 0
    unloads: float = 0
    failures: float = 0


@dataclass(slots=True)
class MetricsSnapshot:
    """A server at one moment. What it does not measure is not in here.

    at: when, by `time.monotonic`.
    gauges, counters, histograms: by `Measure`; times in seconds.
    statuses: requests by their status (`200`, or `2xx`), counted since its start.
    models: those that it has answered as.
    residence: its models, where it has several that come and go.
    ready: whether the engine behind our door is; None for a server that does not say.
    engine_memory: bytes of the engine's processes; engine_cpu_s: seconds of processor time that they have used.
    """

    at: float
    gauges: dict[Measure, float] = field(default_factory=dict)
    counters: dict[Measure, float] = field(default_factory=dict)
    histograms: dict[Measure, Histogram] = field(default_factory=dict)
    statuses: dict[str, float] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    residence: list[ModelResidence] = field(default_factory=list)
    gpus: list[GPU] = field(default_factory=list)
    ready: bool | None = None
    engine_memory: float | None = None
    engine_cpu_s: float | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether there is nothing in it that is known here."""
        return not (self.gauges or self.counters or self.histograms or self.statuses)

    def follows(self, earlier: MetricsSnapshot) -> bool:
        """Whether it can be compared with an earlier one: no counter has gone back, as all do when a server starts."""
        counters = all(self.counters.get(measure, 0) >= count for measure, count in earlier.counters.items())
        statuses = all(self.statuses.get(status, 0) >= count for status, count in earlier.statuses.items())
        samples = all(
            measure in self.histograms and self.histograms[measure].samples >= histogram.samples
            for measure, histogram in earlier.histograms.items()
        )
        return counters and statuses and samples
