"""What `engineroom fit` prints: a table for people, and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engineroom.memory import GIB, MemoryProfile

from .gpus import GpuFit
from .memory import Demand, request_cache_bytes, token_cache_bytes
from .reading import ModelMemory
from .throughput import ThroughputAssumptions

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHOWN = 12
_WIDE = 100
"""Columns from which the table has room for speed, too."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """Everything that was found out.

    engine: its name.
    named: whether the user named the GPUs, so that those on which the model does not fit are shown with the reason.
    everything: whether all are shown.
    prices: where the prices come from.
    """

    model: ModelMemory
    engine: str
    profile: MemoryProfile
    demand: Demand
    fits: Sequence[GpuFit]
    named: bool
    everything: bool
    prices: str
    assumed: ThroughputAssumptions

    def as_json(self) -> dict[str, Any]:
        architecture = self.model.architecture
        return {
            "model": {
                "name": self.model.name,
                "format": self.model.format,
                "quantisation": self.model.weights.quantisation,
                "architecture": architecture.name,
                "parameters_estimate": architecture.parameters,
                "active_parameters_estimate": architecture.active_parameters,
                "context_tokens": architecture.context_tokens,
                "weights_bytes": self.model.weights.total_bytes,
                "weights_bytes_by_type": dict(self.model.weights.by_type),
                "download_bytes": self.model.stored_bytes,
                "cache_bytes_per_token": token_cache_bytes(architecture, self.profile, 1, self.demand.cache_type),
                "note": self.model.note,
            },
            "engine": self.engine,
            "demand": asdict(self.demand),
            "prices": self.prices,
            "throughput_assumptions": asdict(self.assumed),
            "gpus": [self._gpu_json(fit) for fit in self.fits],
        }

    def _gpu_json(self, fit: GpuFit) -> dict[str, Any]:
        return {
            "id": fit.gpu.id,
            "name": fit.gpu.name,
            "pool": fit.gpu.pool,
            "gpus": fit.gpus,
            "fits": fit.fits,
            "reason": fit.reason,
            "need": None if fit.need is None else {**asdict(fit.need), "total_bytes": fit.need.total_bytes},
            "budget_bytes": fit.budget_bytes,
            "room_bytes": fit.room_bytes,
            "max_context_tokens": fit.max_context_tokens,
            "max_requests": fit.max_requests,
            "tokens_per_second": _rounded(fit.tokens_per_second, 1),
            "pod_usd_per_hour": _rounded(fit.pod_usd_per_hour, 4),
            "serverless_usd_per_hour": _rounded(fit.serverless_usd_per_hour, 4),
            "usd_per_million_tokens": _rounded(fit.usd_per_million_tokens, 4),
            "settings": dict(settings(self.profile, self.demand, fit)) if fit.fits else {},
        }

    def show(self, screen: Console) -> None:
        """Print the table and what one has to know about it."""
        for line in self._about():
            screen.print(line)
        fitting = [fit for fit in self.fits if fit.fits]
        shown = fitting if self.everything or self.named else fitting[:_SHOWN]
        if shown:
            screen.print()
            screen.print(_table(shown, wide=screen.width >= _WIDE))
        hidden = len(fitting) - len(shown)
        if hidden:
            screen.print(f"\n{hidden} more GPUs would do, at a higher price: --all shows them.")
        self._show_failures(screen, [fit for fit in self.fits if not fit.fits])
        self._show_notes(screen, shown)

    def _about(self) -> list[str]:
        from rich.markup import escape

        model = self.model
        architecture = model.architecture
        context = f", a context of up to {architecture.context_tokens:,} tokens" if architecture.context_tokens else ""
        quantisation = f" ({model.weights.quantisation})" if model.weights.quantisation else ""
        size = f"{model.weights.total_bytes / GIB:.2f} GiB of weights{quantisation}"
        lines = [f"[bold]{escape(model.name)}[/bold]: {escape(architecture.name)}, {size}{context}"]
        per_token = token_cache_bytes(architecture, self.profile, 1, self.demand.cache_type)
        requests = self.demand.requests
        lines.append(
            f"With {self.engine}, {requests:,} request{'s' if requests > 1 else ''} of {self.demand.context_tokens:,} "
            f"tokens at a time; the cache takes {per_token:,} bytes a token"
        )
        request = request_cache_bytes(architecture, self.profile, self.demand.context_tokens, 1, self.demand.cache_type)
        if request:
            lines[-1] += f", {requests * request / GIB:.2f} GiB in all"
        if model.note:
            lines.append(f"Note: {escape(model.note)}")
        return lines

    def _show_failures(self, screen: Console, failures: Sequence[GpuFit]) -> None:
        if not failures:
            return
        screen.print()
        if self.named or self.everything or len(failures) == len(self.fits):
            for fit in failures:
                screen.print(f"Not on {_count(fit)}: {fit.reason}.")
            return
        names = ", ".join(fit.gpu.name for fit in failures)
        screen.print(f"Not on: {names} (--gpu says why).")

    def _show_notes(self, screen: Console, shown: Sequence[GpuFit]) -> None:
        from rich.markup import escape

        screen.print(f"\n{escape(self.prices)}. RunPod's list prices, USD an hour, for all GPUs of a row.")
        if shown:
            screen.print(
                f"Tokens and their price are an estimate, no measurement: {self.assumed}, and as many requests as fit."
            )
            values = settings(self.profile, self.demand, shown[0])
            text = " ".join(f"{name}={value}" for name, value in values.items())
            screen.print(f"\nSettings for the first row: {text}")


def settings(engine: MemoryProfile, demand: Demand, fit: GpuFit) -> Mapping[str, str]:
    """What to set so that the engine starts with what fits."""
    values: dict[str, str] = {}
    context = demand.context_tokens
    if engine.context_setting:
        values[engine.context_setting] = str(context * (demand.requests if engine.requests_in_context else 1))
    if engine.requests_setting and (demand.requests > 1 or engine.requests_in_context):
        values[engine.requests_setting] = str(demand.requests)
    if engine.parallel_setting and fit.gpus > 1:
        values[engine.parallel_setting] = str(fit.gpus)
    if engine.cache_setting and demand.cache_type:
        values[engine.cache_setting] = demand.cache_type
    if engine.share_setting and demand.share is not None:
        values[engine.share_setting] = f"{demand.share:g}"
    return values


def _table(fits: Sequence[GpuFit], *, wide: bool) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("GPU", no_wrap=True)
    titles = ["longest\ncontext", "requests\nat a time", "pod\n$/h", "serverless\n$/h", "$ per million\nanswer tokens"]
    if wide:
        titles = ["free for\ncache", *titles, "answer\ntokens/s"]
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for fit in fits:
        cells = [
            f"{fit.max_context_tokens:,}",
            f"{fit.max_requests:,}",
            _money(fit.pod_usd_per_hour),
            _money(fit.serverless_usd_per_hour),
            _money(fit.usd_per_million_tokens),
        ]
        if wide:
            speed = "-" if fit.tokens_per_second is None else f"{fit.tokens_per_second:,.0f}"
            cells = [f"{fit.room_bytes / GIB:.1f} GiB", *cells, speed]
        table.add_row(_count(fit), *cells)
    return table


def _count(fit: GpuFit) -> str:
    return fit.gpu.name if fit.gpus == 1 else f"{fit.gpus} x {fit.gpu.name}"


def _money(usd: float | None) -> str:
    return "-" if usd is None else f"{usd:.2f}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
