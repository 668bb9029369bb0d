"""Pod or serverless: what a pattern of traffic costs either way, and which is better."""

from __future__ import annotations

from .decision import (
    HourCost,
    ServingOffer,
    TrafficDecision,
    TrafficRules,
    break_even,
    decide,
    pods_needed,
    serverless_hour,
)
from .errors import TrafficError
from .offers import assumed_cold_start_seconds, pod_offer, serverless_offer
from .pattern import TrafficPattern, load, parse_hours
from .request_log import cold_start_seconds

__all__ = [
    "HourCost",
    "ServingOffer",
    "TrafficDecision",
    "TrafficError",
    "TrafficPattern",
    "TrafficRules",
    "assumed_cold_start_seconds",
    "break_even",
    "cold_start_seconds",
    "decide",
    "load",
    "parse_hours",
    "pod_offer",
    "pods_needed",
    "serverless_hour",
    "serverless_offer",
]
