"""How busy an engine is, for those who choose among workers: the gateways and autoscalers of a pool."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class AdapterOccupancy(NamedTuple):
    """The LoRA adapters of an engine, by name.

    limit: how many can be loaded at a time.
    loaded: those that are, ready to serve.
    awaited: those that requests wait for.
    """

    limit: int
    loaded: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()


class CacheBlocks(NamedTuple):
    """How an engine's cache of keys and values is divided: so many blocks, each of so many tokens."""

    block_tokens: int
    block_count: int


class PoolFacts(NamedTuple):
    """What an engine knows of its load without asking anybody.

    in_flight: requests that have reached it and have no whole answer yet, those that it lets wait included.
    places: how many it works on at a time; None where nobody knows, or there is no such number.
    adapters: None where it has none, or its server says it by itself.
    cache_blocks: None where there are none, or its server says it by itself.
    """

    in_flight: int = 0
    places: int | None = None
    adapters: AdapterOccupancy | None = None
    cache_blocks: CacheBlocks | None = None


class PoolLoad(NamedTuple):
    """The load of an engine, or of several together.

    running, waiting: requests. Together they are those whose clients wait for an answer, or for the rest of one.
    cache_usage: the share of its cache of keys and values that is in use, 0 to 1.
    measured: whether the engine says how much that is. Where it does not, it is the share of its places that are taken,
        or 0 where it has no such number either.
    """

    running: int = 0
    waiting: int = 0
    cache_usage: float = 0.0
    measured: bool = False
    adapters: AdapterOccupancy | None = None
    cache_blocks: CacheBlocks | None = None

    def of_clients(self, total: int) -> PoolLoad:
        """The same where `total` clients wait, some of them before the engine has their requests."""
        running = min(self.running, total)
        return self._replace(running=running, waiting=total - running)


class Scrape(NamedTuple):
    """What there is to know of an engine at one moment.

    text: its own metrics in Prometheus' text format.
    load: how busy it is.
    engine: its name; model: the primary one that it serves. Empty where it is several.
    """

    text: str
    load: PoolLoad = PoolLoad()
    engine: str = ""
    model: str = ""


def metric_values(text: str, name: str) -> list[float]:
    """The values that a text of Prometheus' has of a metric, one for each of its labels."""
    values = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)", text, re.MULTILINE)
    return [float(value) for value in values]


def read_load(text: str, running: Sequence[str], cache_usage: Sequence[str], facts: PoolFacts) -> PoolLoad:
    """The load of an engine, by its own metrics where they have it.

    A request that asks for several choices counts once, whatever the engine makes of it.

    Args:
        text: its metrics.
        running, cache_usage: how it calls these there; of several names the first that the text has counts.
    """
    at_work = _first(text, running, sum)
    if at_work is None:
        at_work = facts.in_flight if facts.places is None else facts.places
    at_work = min(int(at_work), facts.in_flight)
    usage = _first(text, cache_usage, _mean)
    measured = usage is not None
    if usage is None:
        usage = at_work / facts.places if facts.places else 0.0
    # Some servers measure it in percent.
    usage = max(0.0, min(1.0, usage / 100 if usage > 1 else usage))
    return PoolLoad(at_work, facts.in_flight - at_work, usage, measured, facts.adapters, facts.cache_blocks)


def together(loads: Iterable[PoolLoad], waiting: int) -> PoolLoad:
    """The load of several engines of one worker. Of their caches the fullest counts: it is the one that refuses.

    Args:
        waiting: requests that none of them has yet.
    """
    loads = list(loads)
    adapters = [load.adapters for load in loads if load.adapters is not None]
    fullest = max(loads, key=lambda load: load.cache_usage, default=PoolLoad())
    return PoolLoad(
        sum(load.running for load in loads),
        waiting + sum(load.waiting for load in loads),
        fullest.cache_usage,
        fullest.measured,
        _all_adapters(adapters) if adapters else None,
    )


def _all_adapters(several: Sequence[AdapterOccupancy]) -> AdapterOccupancy:
    return AdapterOccupancy(
        sum(one.limit for one in several),
        tuple(name for one in several for name in one.loaded),
        tuple(name for one in several for name in one.awaited),
    )


def _first(text: str, names: Sequence[str], combine: Callable[[Sequence[float]], float]) -> float | None:
    """The first of several metrics that a text has, over all its labels."""
    for name in names:
        if name not in text:
            continue
        numbers = [value for value in metric_values(text, name) if math.isfinite(value)]
        if numbers:
            return combine(numbers)
    return None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
