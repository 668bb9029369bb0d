"""Deployments on a terminal: the list, and one of them with its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..runpod_api.resources import EndpointWorker, RentedPod
from .deployment import Deployment, WorkerPrices

_COLOURS = {
    "RUNNING": "green",
    "IDLE": "green",
    "INITIALIZING": "yellow",
    "PROVISIONING": "yellow",
    "STARTING": "yellow",
    "THROTTLED": "yellow",
    "UNHEALTHY": "red",
    "ERROR": "red",
    "EXITED": "dim",
}


def deployment_list(deployments: Sequence[Deployment], prices: WorkerPrices) -> RenderableType:
    """A line for each: its name, what it is, how it is, what it costs now, and where it is."""
    if not deployments:
        return Text("There is nothing on RunPod in this account; `engineroom deploy MODEL` puts something there.")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", overflow="fold")
    table.add_column("kind")
    table.add_column("state", overflow="fold")
    table.add_column("USD/h", justify="right")
    table.add_column("url", overflow="fold", style="dim")
    for each in deployments:
        price = each.usd_per_hour(prices)
        table.add_row(each.name, each.kind, _state(each.state), "?" if price is None else f"{price:.2f}", each.url)
    return table


def deployment_status(
    deployment: Deployment, prices: WorkerPrices, reasons: Mapping[str, Sequence[str]]
) -> RenderableType:
    """One deployment.

    Args:
        reasons: id of a worker or pod that is not well -> the last lines of its log.
    """
    resource = deployment.resource
    price = deployment.usd_per_hour(prices)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    rows = [
        ("kind", f"{deployment.kind} ({deployment.id})"),
        ("url", deployment.url),
        ("image", resource.image),
        ("runs on", _hardware(deployment)),
        ("costs now", "unknown" if price is None else f"${price:.2f} an hour"),
    ]
    if not isinstance(resource, RentedPod):
        limits = resource.workers
        idle = f", each ends after {limits.idle_timeout} idle seconds" if limits.idle_timeout else ""
        rows.append(("workers", f"{limits.min} to {limits.max}{idle}"))
    for word, text in rows:
        grid.add_row(word, Text(text))
    parts: list[RenderableType] = [
        Text.assemble((deployment.name, "bold"), "  ", _state(deployment.state)),
        grid,
    ]
    if deployment.workers:
        parts += [Text(), _workers(deployment.workers)]
    parts += [part for who, lines in reasons.items() for part in _why(who, lines)]
    return Group(*parts)


def _workers(workers: Sequence[EndpointWorker]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("worker", "state", "runs on", "where"):
        table.add_column(column, overflow="fold")
    table.add_column("up", justify="right")
    for worker in workers:
        stale = " (older settings)" if worker.is_stale else ""
        gpu = f"{worker.gpu_count} x {worker.gpu_type_id}" if worker.gpu_type_id else "CPU"
        uptime = "" if worker.uptime_seconds is None else _duration(worker.uptime_seconds)
        state = _state(worker.status).append(stale, "dim")
        table.add_row(worker.id, state, gpu if worker.started_at else "", worker.data_center_id or "", uptime)
    return table


def _why(who: str, lines: Sequence[str]) -> list[RenderableType]:
    quoted = [Text(f"  {line}", overflow="fold") for line in lines]
    return [Text(), Text(f"{who}: the last lines of its log", "bold"), *(quoted or [Text("  (it has written none)")])]


def _hardware(deployment: Deployment) -> str:
    resource = deployment.resource
    if isinstance(resource, RentedPod):
        if resource.gpu is not None:
            return f"{resource.gpu.count} x {resource.gpu.id}, {resource.cloud.lower()} cloud"
        return f"{resource.cpu.vcpu_count} vCPUs of {resource.cpu.id}" if resource.cpu is not None else "unknown"
    if resource.gpu is not None:
        without = f", without {', '.join(resource.gpu.excluded_types)}" if resource.gpu.excluded_types else ""
        return f"{resource.gpu.count} of {' or '.join(resource.gpu.pools)}{without}"
    return ", ".join(f"{cpu.vcpu_count} vCPUs of {cpu.id}" for cpu in resource.cpu) or "unknown"


def _state(state: str) -> Text:
    worst = next((word for word in reversed(_COLOURS) if word in state), "")
    return Text(state, _COLOURS.get(worst, ""))


def _duration(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
