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
        self._gauges: dict[str, Any] = {}
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
        from prometheus_client.parser import text_string_to_metric_families

        scrape = await self._stack.engine.scrape()
        metrics = self._stack.metrics
        text = metrics.text() + self._pool_gauges.text(scrape, metrics.running)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    self._set(sample.name.replace(":", "_"), family.documentation, sample.labels, sample.value)

    def _set(self, name: str, description: str, labels: dict[str, str], value: float) -> None:
        from ray.serve import metrics

        gauge = self._gauges.get(name)
        if gauge is None:
            # Ray knows one set of labels for each name.
            gauge = self._gauges[name] = metrics.Gauge(name, description=description, tag_keys=tuple(labels))
        gauge.set(value, tags=dict(labels))
