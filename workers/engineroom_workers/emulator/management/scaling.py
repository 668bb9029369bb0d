"""How many workers an endpoint should have: pure functions of its load and its settings."""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class EndpointLoad(NamedTuple):
    """What an endpoint has to do.

    waiting: requests that no worker has.
    running: requests that a worker has.
    longest_wait: seconds for which the first of those that wait has waited; 0 if there is none.
    """

    waiting: int
    running: int
    longest_wait: float


class FleetLimits(NamedTuple):
    """The fewest and the most workers that an endpoint may have."""

    min: int
    max: int


def wanted_workers(scaling: dict[str, Any], limits: FleetLimits, load: EndpointLoad, workers: int) -> int:
    """How many workers there should be, beside those that are only kept because they have not been idle for long.

    REQUEST_COUNT: one for each `requestCount` requests. QUEUE_DELAY: the first at once, and another for every
    `queueDelay` seconds that the first request has waited.

    Args:
        scaling: the endpoint's, as in its JSON.
        workers: how many there are.
    """
    if scaling["type"] == "REQUEST_COUNT":
        wanted: int = math.ceil((load.waiting + load.running) / scaling["requestCount"])
    elif load.waiting:
        wanted = max(1, math.ceil(load.longest_wait / scaling["queueDelay"]))
    else:
        # The requests that run keep the workers that they have, and no others.
        wanted = min(workers, load.running)
    return min(max(wanted, limits.min), limits.max)
