"""Pod or serverless for a pattern of traffic: a pure function of the pattern, prices and times.

A pod costs its price whether or not anything comes. A serverless worker costs from its start on: while it starts, while
it works, and until it has been idle for the idle time-out; RunPod bills all three. Requests are taken to come
independently of each other within an hour (a Poisson process), at a rate r. A worker that is up stays up until nothing
has come for as long as one request and the idle time-out, K; a start takes C. With x = exp(-r * K), of a long time:

* the part in which a worker is up, starts included, is (1 - x + r * C * x) / (1 + r * C * x);
* starts happen r * x / (1 + r * C * x) times a second; whoever comes during one waits, too, so that each makes
  1 + r * C requests wait.

One worker takes so many requests a second at most. Where more come, as many workers are up as they need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import TrafficError
from .pattern import HOURS, TrafficPattern

_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class ServingOffer:
    """One way to serve: a pod, or a serverless worker.

    hardware: its GPUs, for people.
    usd_per_hour: for all of them.
    request_seconds: how long one request takes that is alone.
    requests_per_second: how many it takes at most, many at the same time.
    """

    hardware: str
    usd_per_hour: float
    request_seconds: float
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class TrafficRules:
    """What is known of a worker's life, and what is wanted.

    cold_start_seconds: from its start until the engine is ready.
    idle_timeout_seconds: how long it waits for more; RunPod's default is 5.
    max_waiting_share: the share of requests that may wait for a start, at most; None where only the price counts.
    """

    cold_start_seconds: float
    idle_timeout_seconds: float = 5.0
    max_waiting_share: float | None = None


@dataclass(frozen=True, slots=True)
class HourCost:
    """One hour of the day, served without a server of one's own.

    workers: on average, up for any reason.
    waiting: requests that wait for a start.
    """

    requests: float
    workers: float
    waiting: float
    usd: float


@dataclass(frozen=True, slots=True)
class TrafficDecision:
    """The better way, and why.

    pods: how many pods the busiest hour needs.
    pod_usd_per_day, serverless_usd_per_day: None where that is not offered.
    waiting_share: of a day's requests, those that wait for a cold start.
    break_even_requests_per_hour: from so many on, evenly over the day, a pod costs less; None where it never does, or
        one of the two is not offered.
    """

    mode: Literal["pod", "serverless"]
    reason: str
    pods: int
    pod_usd_per_day: float | None
    serverless_usd_per_day: float | None
    waiting_share: float
    break_even_requests_per_hour: float | None
    hours: tuple[HourCost, ...]


def decide(
    pattern: TrafficPattern, pod: ServingOffer | None, serverless: ServingOffer | None, rules: TrafficRules
) -> TrafficDecision:
    """Which of the two serves a pattern better.

    Raises:
        TrafficError: neither is offered.
    """
    hours: tuple[HourCost, ...] = ()
    if serverless is not None:
        hours = tuple(serverless_hour(requests, serverless, rules) for requests in pattern.requests_by_hour)
    pods = pods_needed(pattern, pod) if pod else 0
    pod_usd = pods * pod.usd_per_hour * HOURS if pod else None
    serverless_usd = sum(hour.usd for hour in hours) if serverless else None
    waiting = sum(hour.waiting for hour in hours)
    share = waiting / pattern.requests_per_day if pattern.requests_per_day else 0.0
    mode, reason = _choice(pattern, pod_usd, serverless_usd, share, hours, rules)
    return TrafficDecision(
        mode=mode,
        reason=reason,
        pods=pods,
        pod_usd_per_day=pod_usd,
        serverless_usd_per_day=serverless_usd,
        waiting_share=share,
        break_even_requests_per_hour=break_even(pod, serverless, rules) if pod and serverless else None,
        hours=hours,
    )


def pods_needed(pattern: TrafficPattern, pod: ServingOffer) -> int:
    """How many pods the busiest hour needs; at least one."""
    return max(1, math.ceil(pattern.busiest_hour / _HOUR_S / pod.requests_per_second))


def serverless_hour(requests: float, worker: ServingOffer, rules: TrafficRules) -> HourCost:
    """What one hour with so many requests costs."""
    if not requests:
        return HourCost(requests, 0.0, 0.0, 0.0)
    rate = requests / _HOUR_S
    nothing_came = math.exp(-rate * (worker.request_seconds + rules.idle_timeout_seconds))
    start = rate * rules.cold_start_seconds * nothing_came
    up = (1 - nothing_came + start) / (1 + start)
    starts = requests * nothing_came / (1 + start)
    waiting = min(requests, starts * (1 + rate * rules.cold_start_seconds))
    workers = max(up, rate / worker.requests_per_second)
    return HourCost(requests, workers, waiting, workers * worker.usd_per_hour)


def break_even(pod: ServingOffer, serverless: ServingOffer, rules: TrafficRules) -> float | None:
    """From how many requests an hour on, evenly over the day, one pod costs less than serverless; None if never."""

    def serverless_is_dearer(requests: float) -> bool:
        return serverless_hour(requests, serverless, rules).usd > pod.usd_per_hour

    largest = pod.requests_per_second * _HOUR_S
    if not serverless_is_dearer(largest):
        return None
    low = 0.0
    high = largest
    while high - low > max(0.01, high * 1e-3):
        middle = (low + high) / 2
        if serverless_is_dearer(middle):
            high = middle
        else:
            low = middle
    return high


def _choice(
    pattern: TrafficPattern,
    pod_usd: float | None,
    serverless_usd: float | None,
    waiting_share: float,
    hours: Sequence[HourCost],
    rules: TrafficRules,
) -> tuple[Literal["pod", "serverless"], str]:
    if pod_usd is None and serverless_usd is None:
        raise TrafficError("neither a pod nor a serverless worker is offered for this model")
    if serverless_usd is None:
        return "pod", "there is no serverless pool on which the model fits"
    up = sum(hour.workers for hour in hours) / HOURS
    waits = f"{waiting_share:.0%} of the requests wait {rules.cold_start_seconds:.0f} s for a cold start"
    if pod_usd is None:
        return "serverless", f"there is no pod on which the model fits; {waits}"
    prices = f"a day of serverless costs ${serverless_usd:.2f}, and a pod ${pod_usd:.2f}"
    limit = rules.max_waiting_share
    if limit is not None and waiting_share > limit:
        return "pod", f"{waits}, and no more than {limit:.0%} may; {prices}"
    if serverless_usd < pod_usd:
        return "serverless", f"{prices}: workers are up {up:.0%} of the time; {waits}"
    if not pattern.requests_per_day:
        return "serverless", "nothing comes, and serverless costs nothing then"
    return "pod", f"{prices}: {up:.1f} workers would be up on average, each at a higher price"
