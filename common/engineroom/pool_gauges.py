"""The gauges by which an inference pool chooses among workers, under the names that it reads, for every engine.

The names are those of one engine, whatever serves: pools (Gateway API Inference Extension, llm-d) read them where a pod
does not say by a label that it is of another kind. An engine whose own names they know by such a label has those, too.
Source: the protocol of model servers, https://github.com/kubernetes-sigs/gateway-api-inference-extension.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from .engine import Metric, exposition, label_value
from .pool_load import PoolLoad, Scrape

_NAMES = Path(__file__).with_name("pool_names.json")


class PoolDialect(msgspec.Struct, frozen=True):
    """What one kind of server calls what pools read; empty for what it has not.

    block_tokens, block_count: labels of `cache_blocks`.
    """

    waiting: str
    running: str
    cache_usage: str
    adapters: str
    cache_blocks: str
    block_tokens: str
    block_count: str


class PoolDialects(msgspec.Struct, frozen=True):
    """default: the one that pools read without being told; dialects: by the engine whose own it is."""

    default: str
    dialects: Mapping[str, PoolDialect]

    @classmethod
    def load(cls) -> PoolDialects:
        """Those that are known here."""
        return msgspec.json.decode(_NAMES.read_bytes(), type=cls)

    def of(self, engine: str) -> list[PoolDialect]:
        """The dialects in which an engine's load is given: the default one, and its own."""
        return [self.dialects[name] for name in dict.fromkeys((self.default, engine)) if name in self.dialects]


class PoolGauges:
    """Writes an engine's load into its metrics.

    Args:
        clock: the time of day in seconds, by which a pool finds the latest word on adapters.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._dialects = PoolDialects.load()
        self._clock = clock

    def text(self, scrape: Scrape, clients: int | None = None) -> str:
        """The engine's metrics and its load, each gauge once: what the engine itself has under these names gives way,
        since it knows nothing of requests that have not reached it yet.

        Args:
            clients: how many wait for an answer or the rest of one, where somebody lets requests wait before the
                engine.
        """
        load = scrape.load if clients is None else scrape.load.of_clients(clients)
        text = scrape.text
        metrics: list[Metric] = []
        for dialect in self._dialects.of(scrape.engine):
            for metric in self._metrics(dialect, load, scrape, text):
                text = _without(metric.name, text)
                metrics.append(metric)
        return text + exposition(metrics)

    def _metrics(self, dialect: PoolDialect, load: PoolLoad, scrape: Scrape, text: str) -> Iterator[Metric]:
        model = f'model_name="{label_value(scrape.model)}"'
        running = "Requests that the engine works on."
        yield Metric(dialect.running, "gauge", running, {model: load.running})
        waiting = "Requests that wait for the engine, at the worker or in it."
        yield Metric(dialect.waiting, "gauge", waiting, {model: load.waiting})
        usage = "Share of the KV cache in use, 0 to 1. measured=false: of the engine's places, or 0 without any."
        labels = model if load.measured else f'{model},measured="false"'
        yield Metric(dialect.cache_usage, "gauge", usage, {labels: round(load.cache_usage, 4)})
        if load.adapters is not None and dialect.adapters:
            loaded = label_value(",".join(load.adapters.loaded))
            awaited = label_value(",".join(load.adapters.awaited))
            names = f'max_lora="{load.adapters.limit}",running_lora_adapters="{loaded}"'
            labels = f'{names},waiting_lora_adapters="{awaited}"'
            about = "LoRA adapters that are loaded, and those that requests wait for; its value is the time."
            yield Metric(dialect.adapters, "gauge", about, {labels: round(self._clock(), 3)})
        if load.cache_blocks is not None and dialect.cache_blocks:
            labels = f'{dialect.block_tokens}="{load.cache_blocks.block_tokens}"'
            labels = f'{labels},{dialect.block_count}="{load.cache_blocks.block_count}"'
            yield Metric(dialect.cache_blocks, "gauge", "How the KV cache is divided.", {labels: 1})


def _without(name: str, text: str) -> str:
    """A text of Prometheus' without one metric."""
    if name not in text:
        return text
    return re.sub(rf"^(?:# (?:HELP|TYPE) )?{re.escape(name)}(?=[ {{]).*\n?", "", text, flags=re.MULTILINE)
