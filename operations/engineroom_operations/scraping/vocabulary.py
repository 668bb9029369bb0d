"""Which names in `/metrics` mean what: those of our own door, and those that the installed engines know."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, get_args

from engineroom import plugins
from engineroom.engine import Measure
from engineroom.pool_gauges import PoolDialects
from engineroom.settings import Environment

from .exposition import Exposition, Histogram
from .snapshot import GPU, MetricsSnapshot, ModelResidence

_AT_THE_DOOR = "engineroom_requests_running"

OUR_DOOR: Mapping[Measure, Sequence[str]] = {
    "requests_running": (_AT_THE_DOOR,),
    "requests_waiting": ("engineroom_requests_waiting",),
    "requests_by_status": ("engineroom_requests_total",),
    "prompt_tokens": ("engineroom_prompt_tokens_total",),
    "completion_tokens": ("engineroom_completion_tokens_total",),
    "time_to_first_token": ("engineroom_time_to_first_token_seconds",),
    "inter_token": ("engineroom_inter_token_seconds",),
    "request_time": ("engineroom_request_seconds",),
}
"""The HTTP door's own, which count before those of the engine behind it: they are what clients see."""

T = TypeVar("T")

MEASURES: tuple[Measure, ...] = get_args(Measure)
GAUGES: frozenset[Measure] = frozenset({"requests_running", "requests_waiting"})
RATIOS: frozenset[Measure] = frozenset({"cache_usage", "prefix_cache_hit_ratio"})
HISTOGRAMS: frozenset[Measure] = frozenset(
    {"time_to_first_token", "inter_token", "request_time", "queue_time", "prefill_time", "decode_time"}
)

_MODEL_LABELS = ("model", "model_name", "model_id")
_STATUS_LABELS = ("status", "status_code", "code")
_UNITS = {"_milliseconds": 1000.0, "_ms": 1000.0, "_microseconds": 1_000_000.0}
_GPU = {
    "utilisation": "engineroom_gpu_utilisation_ratio",
    "memory_used": "engineroom_gpu_memory_used_bytes",
    "memory_total": "engineroom_gpu_memory_total_bytes",
    "temperature": "engineroom_gpu_temperature_celsius",
    "power": "engineroom_gpu_power_watts",
}
_READY = "engineroom_engine_ready"
_ENGINE_MEMORY = "engineroom_engine_resident_memory_bytes"
_ENGINE_CPU = "engineroom_engine_cpu_seconds_total"
_OURS = "engineroom_"
_LINE = re.compile(r"^([A-Za-z_:][\w:]*)[{ \t].*$", re.MULTILINE | re.ASCII)

_PHASE = "engineroom_model_phase"
_RESIDENCE = {
    "running": "engineroom_model_running",
    "waiting": "engineroom_model_waiting",
    "longest_wait_s": "engineroom_model_longest_wait_seconds",
    "memory": "engineroom_model_memory_bytes",
    "loads": "engineroom_model_loads_total",
    "unloads": "engineroom_model_unloads_total",
    "failures": "engineroom_model_load_failures_total",
}


class MetricVocabulary:
    """Reads scrapes by the names that it knows.

    Args:
        names: a measure -> its names in `/metrics`; the first that a scrape has counts.
    """

    def __init__(self, names: Mapping[Measure, Sequence[str]]) -> None:
        self._names = names
        pools = PoolDialects.load()
        self._pool_waiting = pools.dialects[pools.default].waiting
        """By which our door says to pools what waits, at the door and behind it."""
        known = {name for several in names.values() for name in several}
        self._known = frozenset(name + end for name in known for end in ("", "_bucket", "_sum", "_count"))

    @classmethod
    def installed(cls, env: Environment) -> MetricVocabulary:
        """Our door's names and those of all engines that are installed."""
        names: dict[Measure, list[str]] = defaultdict(list)
        for mapping in (OUR_DOOR, *(engine.metric_names for engine in plugins.loadable(env).values())):
            for measure, known in mapping.items():
                names[measure] += known
        return cls(names)

    def read(self, text: str, at: float) -> MetricsSnapshot:
        """What a scrape says.

        Args:
            text: what `/metrics` answered.
            at: when it did, by `time.monotonic`.

        Raises:
            UnreadableMetrics: the text is something else.
        """
        # Servers have many more metrics, and to read them all would take a load test's time from its requests.
        exposition = Exposition(self._known_lines(text) or text)
        snapshot = MetricsSnapshot(at)
        for measure in MEASURES:
            if measure in HISTOGRAMS:
                histogram = self._first(measure, lambda name: _in_seconds(exposition, name))
                if histogram is not None:
                    snapshot.histograms[measure] = histogram
            elif measure == "requests_by_status":
                statuses = self._first(measure, lambda name: exposition.by_label(name, _STATUS_LABELS) or None)
                snapshot.statuses = statuses or {}
            elif measure in RATIOS:
                ratio = self._first(measure, exposition.mean)
                if ratio is not None:
                    snapshot.gauges[measure] = ratio / 100 if ratio > 1 else ratio
            else:
                value = self._first(measure, exposition.total)
                if value is not None:
                    (snapshot.gauges if measure in GAUGES else snapshot.counters)[measure] = value
        if exposition.total(_AT_THE_DOOR) is not None:
            # Those that wait, at the door for their turn or in the engine behind it, are among those that it serves.
            waiting = self._waiting(exposition)
            snapshot.gauges["requests_waiting"] = waiting
            snapshot.gauges["requests_running"] = max(0.0, snapshot.gauges["requests_running"] - waiting)
            # Its counters have labels, and are not there before they have counted anything.
            snapshot.counters.setdefault("prompt_tokens", 0.0)
            snapshot.counters.setdefault("completion_tokens", 0.0)
        served = self._first("completion_tokens", lambda name: exposition.by_label(name, _MODEL_LABELS) or None)
        snapshot.models = sorted(model for model in served or () if model)
        snapshot.residence = _residence(exposition)
        snapshot.gpus = _gpus(exposition)
        snapshot.ready = _ready(exposition)
        snapshot.engine_memory = exposition.total(_ENGINE_MEMORY)
        snapshot.engine_cpu_s = exposition.total(_ENGINE_CPU)
        return snapshot

    def _known_lines(self, text: str) -> str:
        """The lines of the metrics that are read here: all of our door's own, and those of the engines' names."""
        lines = []
        for match in _LINE.finditer(text):
            if match[1] in self._known or match[1].startswith(_OURS):
                lines.append(match[0])
        return "\n".join(lines)

    def _waiting(self, exposition: Exposition) -> float:
        """Requests that wait at our door, and in the engine behind it."""
        for_pools = exposition.total(self._pool_waiting)
        if for_pools is not None:
            return for_pools
        at_the_door = OUR_DOOR["requests_waiting"]
        waiting = sum(exposition.total(name) or 0.0 for name in at_the_door)
        for name in self._names.get("requests_waiting", ()):
            value = None if name in at_the_door else exposition.total(name)
            if value is not None:
                return waiting + value
        return waiting

    def _first(self, measure: Measure, read: Callable[[str], T | None]) -> T | None:
        for name in self._names.get(measure, ()):
            value = read(name)
            if value is not None:
                return value
        return None


def _in_seconds(exposition: Exposition, name: str) -> Histogram | None:
    histogram = exposition.histogram(name)
    scale = next((scale for suffix, scale in _UNITS.items() if name.endswith(suffix)), 1.0)
    return None if histogram is None else histogram.scaled(scale)


def _gpus(exposition: Exposition) -> list[GPU]:
    columns = {field: exposition.by_label(name, ("gpu",)) for field, name in _GPU.items()}
    indices = sorted({index for column in columns.values() for index in column})
    return [GPU(index, **{field: column.get(index) for field, column in columns.items()}) for index in indices]


def _residence(exposition: Exposition) -> list[ModelResidence]:
    phases = exposition.states(_PHASE, "model", "phase")
    columns = {field: exposition.by_label(name, ("model",)) for field, name in _RESIDENCE.items()}
    models = []
    for name, phase in phases.items():
        known = {field: column[name] for field, column in columns.items() if name in column}
        models.append(ModelResidence(name, phase, **known))
    return models


def _ready(exposition: Exposition) -> bool | None:
    ready = exposition.total(_READY)
    return None if ready is None else ready > 0
