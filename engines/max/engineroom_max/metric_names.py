"""What MAX measures, by its names in `/metrics`, which is on a port of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.engine import Measure

METRIC_NAMES: Mapping[Measure, Sequence[str]] = {
    "requests_running": ("maxserve_num_requests_running",),
    "requests_waiting": ("maxserve_num_requests_queued",),
    "requests_by_status": ("maxserve_request_count_total",),
    "prompt_tokens": ("maxserve_num_input_tokens_total",),
    "completion_tokens": ("maxserve_num_output_tokens_total",),
    "time_to_first_token": ("maxserve_time_to_first_token_milliseconds",),
    "inter_token": ("maxserve_itl_milliseconds",),
    "request_time": ("maxserve_request_time_milliseconds",),
    "prefix_cache_hits": ("maxserve_cache_hits_tokens_total",),
    "prefix_cache_misses": ("maxserve_cache_misses_tokens_total",),
    "preemptions": ("maxserve_cache_preemption_count_total",),
}
