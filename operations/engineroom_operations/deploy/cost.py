"""What a deployment costs an hour, in words."""

from __future__ import annotations

from .wanted import Specification


def cost_lines(spec: Specification, price: float | None) -> list[str]:
    """What it costs when nobody uses it, and when it is busy.

    Args:
        price: USD an hour of the pod or of one worker; None where RunPod states none.
    """
    storage = ["the network volume is billed as long as it exists"] if spec.file.volume is not None else []
    if price is None:
        return ["RunPod states no price for this", *storage]
    if spec.kind == "pod":
        return [f"${price:.2f} an hour, used or not, until it is stopped", *storage]
    workers = spec.file.workers
    idle = f"idle: ${workers.min * price:.2f} an hour"
    idle += f" ({_workers(workers.min)} always there)" if workers.min else " (no worker waits)"
    busy = f"busy: up to ${workers.max * price:.2f} an hour ({_workers(workers.max)} at ${price:.2f})"
    return [idle, busy, *storage]


def _workers(count: int) -> str:
    return f"{count} worker" if count == 1 else f"{count} workers"
