"""Each replica's metrics for Ray's own exporter: a request to `/metrics` reaches any one of several replicas."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from engineroom.pool_gauges import PoolGauges

if TYPE_CHECKING:
    from ..http.stack import Stack

logger = logging.getLogger(__name__)

_PERIOD_S = 5
_TAGS_OF_SERVE = ("application", "deployment", "replica")


class RayMetrics:
    """Hands what `/metrics` says of the door and the engine to Ray, sample by sample.

    Ray exports it on each node (`--metrics-export-port`) as `ray_` and the name, with the replica, the deployment and
    the application as labels. Each sample is a gauge there, also those of counters and histograms: Ray adds up by
    itself, and these are added up already. `rate` and `histogram_quantile` work on them as ever.

    Args:
        stack: whose metrics; of an engine that is ready.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._gauges: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self._pool_gauges = PoolGauges()

    async def run(self) -> None:
        """Hand them over every five seconds, until this is cancelled."""
        while True:
            try:
                await self._hand_over()
            except Exception:
                logger.exception("metrics could not be handed to Ray")
            await asyncio.sleep(_PERIOD_S)

    async def _hand_over(self) -> None:
        scrape = await self._stack.engine.scrape()
        metrics = self._stack.metrics
        text = metrics.text() + self._pool_gauges.text(scrape, metrics.running)
        # Engines have hundreds of samples: streams would stand still meanwhile.
        await asyncio.to_thread(self._set_all, text)

    def _set_all(self, text: str) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        for family in text_string_to_metric_families(text):
            labels = sorted({label for sample in family.samples for label in sample.labels})
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    tags = {_tag(label): sample.labels.get(label, "") for label in labels}
                    self._set(sample.name.replace(":", "_"), family.documentation, tags, sample.value)

    def _set(self, name: str, description: str, tags: dict[str, str], value: float) -> None:
        from ray.serve import metrics

        gauge, keys = self._gauges.get(name, (None, ()))
        if gauge is None:
            keys = tuple(tags)
            gauge = metrics.Gauge(name, description=description, tag_keys=keys)
            self._gauges[name] = gauge, keys
        # Ray knows one set of tags for each name, that of the first time.
        gauge.set(value, tags={key: tags.get(key, "") for key in keys})


def _tag(label: str) -> str:
    """A label's name beside those that Serve adds."""
    return f"exported_{label}" if label in _TAGS_OF_SERVE else label
