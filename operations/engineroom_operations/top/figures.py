"""Figures as people read them, and a target's figures in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..runpod_api.resources import EndpointWorker
from ..scraping.snapshot import ModelResidence
from ..terminal_text import printable
from .reading import Percentiles, Reading

_LONGEST_NAME = 22
_LOADED = ("resident", "draining")
"""Phases in which a model answers requests."""


class Figure(NamedTuple):
    """One line of a target's figures. alarming: whether it is to stand out."""

    title: str
    text: str
    alarming: bool = False


def figures(reading: Reading) -> Iterator[Figure]:
    """The lines for what a target measures, the important ones first."""
    if reading.running is not None or reading.waiting is not None:
        requests = f"{number(reading.running)} running"
        if reading.waiting is not None:
            requests += f", {number(reading.waiting)} waiting"
        if reading.requests_per_s is not None:
            requests += f", {rate(reading.requests_per_s)}/s"
        yield Figure("requests", requests)
    if reading.completion_tokens_per_s is not None or reading.prompt_tokens_per_s is not None:
        out = rate(reading.completion_tokens_per_s)
        yield Figure("tokens/s", f"{out} out, {rate(reading.prompt_tokens_per_s)} in")
    for title, percentiles in (
        ("TTFT", reading.time_to_first_token),
        ("inter-token", reading.inter_token),
        ("request", reading.request_time),
    ):
        if percentiles is not None:
            yield Figure(title, percentile_text(percentiles))
    yield from _residence(reading)
    yield from _caches(reading)
    yield from _errors(reading)
    yield from _hardware(reading)
    if reading.workers:
        named = [f"{count} {state}" for state, count in reading.workers.items() if count and state != "ready"]
        yield Figure("workers", ", ".join(named) or "none", bool(reading.workers.get("unhealthy")))
    for worker in reading.each_worker:
        yield Figure(f"  {worker.id}", _worker_text(worker), worker.status == "UNHEALTHY")


def _worker_text(worker: EndpointWorker) -> str:
    gpus = f"{worker.gpu_count} x " if worker.gpu_count > 1 else ""
    parts = [
        worker.status.lower(),
        worker.gpu_type_id and f"{gpus}{worker.gpu_type_id}",
        worker.data_center_id,
        worker.uptime_seconds and f"up {duration(worker.uptime_seconds)}",
        worker.is_stale and "of an older version",
    ]
    return ", ".join(part for part in parts if part)


def _residence(reading: Reading) -> Iterator[Figure]:
    """A line on all models, and one for each that there is something to say of."""
    models = reading.residence
    if not models:
        return
    resident = sum(model.phase in _LOADED for model in models)
    waiting = sum(model.waiting for model in models)
    text = f"{resident} of {len(models)} resident"
    if waiting:
        longest = max(model.longest_wait_s for model in models)
        text += f", {number(waiting)} waiting, the first for {duration(longest)}"
    text += f", {number(sum(model.loads for model in models))} loads"
    text += f", {number(sum(model.unloads for model in models))} unloads"
    yield Figure("models", text)
    for model in models:
        if model.phase != "absent" or model.waiting or model.failures:
            yield Figure(
                f"  {_shortened(model.name)}", _model_text(model), model.phase == "absent" and model.waiting == 0
            )


def _model_text(model: ModelResidence) -> str:
    parts = [
        model.phase,
        model.running and f"{number(model.running)} running",
        model.waiting and f"{number(model.waiting)} waiting for {duration(model.longest_wait_s)}",
        model.memory is not None and size(model.memory),
        model.failures and f"{number(model.failures)} loads failed",
    ]
    return ", ".join(part for part in parts if part)


def _shortened(name: str) -> str:
    """A model's name without what would push the figures off the screen: its end tells models apart."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _caches(reading: Reading) -> Iterator[Figure]:
    parts = []
    if reading.cache_usage is not None:
        parts.append(f"{share(reading.cache_usage)} full")
    if reading.prefix_hits is not None:
        parts.append(f"{share(reading.prefix_hits)} of prompts reused")
    if reading.preemptions_per_s:
        parts.append(f"{rate(reading.preemptions_per_s)} preemptions/s")
    if parts:
        full = reading.cache_usage is not None and reading.cache_usage > 0.95
        yield Figure("KV cache", ", ".join(parts), full or bool(reading.preemptions_per_s))


def _errors(reading: Reading) -> Iterator[Figure]:
    if reading.errors is None:
        return
    text = number(reading.errors)
    if reading.errors_per_s:
        text += f", {rate(reading.errors_per_s)}/s now"
    if reading.clients_left:
        text += f"; {number(reading.clients_left)} clients left"
    yield Figure("errors", text, bool(reading.errors_per_s))


def _hardware(reading: Reading) -> Iterator[Figure]:
    for gpu in reading.gpus:
        parts = [
            gpu.utilisation is not None and f"{share(gpu.utilisation)} busy",
            gpu.memory_used is not None and f"{size(gpu.memory_used)} of {size(gpu.memory_total or 0)}",
            gpu.temperature is not None and f"{gpu.temperature:.0f} °C",
            gpu.power is not None and f"{gpu.power:.0f} W",
        ]
        yield Figure(f"GPU {gpu.number}", ", ".join(part for part in parts if part))
    if reading.engine_memory is not None:
        cpus = "" if reading.engine_cpus is None else f", {reading.engine_cpus:.1f} CPUs busy"
        yield Figure("engine", f"{size(reading.engine_memory)} of memory{cpus}")


def line(reading: Reading) -> str:
    """A target in one line, without its name."""
    words = [
        f"{figure.title.strip()} {figure.text}" for figure in figures(reading) if not figure.title.startswith("  ")
    ]
    return "; ".join([state_text(reading), *words])


def state_text(reading: Reading) -> str:
    """`up`, `away for 12 s: nothing listens at …`."""
    text: str = reading.state
    if reading.models and reading.state == "up":
        more = f" and {len(reading.models) - 1} more models" if len(reading.models) > 1 else ""
        text += f", {printable(reading.models[0])}{more}"
    if reading.for_s is not None:
        text += f" for {duration(reading.for_s)}"
    if reading.restarts:
        text += f", started anew {reading.restarts} times" if reading.restarts > 1 else ", started anew once"
    return f"{text}: {printable(reading.reason)}" if reading.reason else text


def percentile_text(percentiles: Percentiles) -> str:
    """`p50 120, p90 180, p99 450 ms`; the unit stands behind each where they differ."""
    if percentiles.p50 is None:
        return "no sample in the last minute"
    times = [seconds(value) for value in percentiles]
    units = {time.rpartition(" ")[2] for time in times}
    if len(units) == 1:
        times = [*(time.rpartition(" ")[0] for time in times[:-1]), times[-1]]
    return ", ".join(f"{name} {time}" for name, time in zip(("p50", "p90", "p99"), times, strict=True))


def number(value: float | None) -> str:
    """A count."""
    return "-" if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """What happens in a second, with a decimal where it is little."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def share(value: float) -> str:
    """A share of 1 in percent."""
    return f"{value * 100:.0f} %"


def seconds(value: float | None) -> str:
    """A short time."""
    if value is None:
        return "-"
    if value < 0.01:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def duration(value: float) -> str:
    """A long time, to the unit that matters."""
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 172_800 else f"{value / 86_400:.0f} days"


def size(value: float) -> str:
    """Bytes."""
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
