"""What llama.cpp measures, by its names in `/metrics`; it has no histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.engine import Measure

METRIC_NAMES: Mapping[Measure, Sequence[str]] = {
    "requests_running": ("llamacpp:requests_processing",),
    "requests_waiting": ("llamacpp:requests_deferred",),
    "prompt_tokens": ("llamacpp:prompt_tokens_total",),
    "completion_tokens": ("llamacpp:tokens_predicted_total",),
    "cache_usage": ("llamacpp:kv_cache_usage_ratio",),
    "prefix_cache_hits": ("llamacpp:prompt_tokens_cached_total",),
    "prefix_cache_misses": ("llamacpp:prompt_tokens_total",),
}
