"""What a run against RunPod cost, and what a million tokens cost at that load."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engineroom.hardware import GpuCatalog

from ..load.endpoint_watch import WorkerSeconds

_SHORTEST_S = 5.0
"""Workers are looked at once a second: what they did in less time is not known well enough for a price."""


class HourlyPrice(NamedTuple):
    """USD for an hour of one worker, and where that is from."""

    usd: float
    source: str


class RunCost(NamedTuple):
    """The cost of a run: between that of starting and working, and that with all idle time. USD.

    per_million_tokens: of prompts and answers together, at the lower figure; None without tokens.
    """

    least: float
    most_billed: float
    seconds: WorkerSeconds
    price: HourlyPrice
    per_million_tokens: float | None

    def lines(self) -> list[str]:
        """In words, for a report."""
        hour = f"${self.price.usd:.2f} an hour a worker, {self.price.source}"
        seconds = self.seconds
        spent = f"{seconds.starting:.0f} s starting, {seconds.at_work:.0f} s at work, {seconds.idle:.0f} s idle"
        total = f"Cost: {dollars(self.least)}"
        if seconds.idle >= 1:
            total += f", or up to {dollars(self.most_billed)} with the idle time"
        lines = [f"{total} ({spent} of all workers, at {hour})."]
        if self.per_million_tokens is None:
            return lines
        if seconds.least < _SHORTEST_S:
            lines.append("That is too little work to say what a million tokens cost: measure for longer (-d).")
        else:
            lines.append(f"A million tokens, in and out, at this load: {dollars(self.per_million_tokens)}.")
        return lines


def cost(seconds: WorkerSeconds, price: HourlyPrice, tokens: int) -> RunCost:
    """The cost of a run.

    Args:
        tokens: of prompts and answers.
    """
    least = seconds.least * price.usd / 3600
    per_million = least / tokens * 1_000_000 if tokens else None
    return RunCost(least, seconds.most_billed * price.usd / 3600, seconds, price, per_million)


def price_of_worker(catalog: GpuCatalog, note: str, gpu_types: Iterable[str], gpus: int) -> HourlyPrice | None:
    """The price of a serverless worker; None where its GPU is not in the catalog, or has no such price.

    Args:
        note: where the catalog's prices are from.
        gpu_types: RunPod's ids of the workers' GPUs; of several the dearest counts.
        gpus: GPUs of a worker.
    """
    wanted = set(gpu_types)
    prices = {gpu.name: gpu.serverless_usd for gpu in catalog.gpus if gpu.id in wanted and gpu.serverless_usd}
    if not prices:
        return None
    dearest = max(prices, key=lambda name: prices[name])
    count = f"{gpus} x " if gpus > 1 else ""
    return HourlyPrice(prices[dearest] * gpus, f"{count}{dearest}; {note[:1].lower()}{note[1:]}")


def dollars(usd: float) -> str:
    """An amount, with as many digits as it takes to see it."""
    if usd >= 1:
        return f"${usd:,.2f}"
    return f"${usd:.4f}" if usd >= 0.0001 else "less than $0.0001"
