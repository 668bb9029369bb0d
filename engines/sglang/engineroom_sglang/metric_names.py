"""What SGLang measures, by its names in `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.engine import Measure

METRIC_NAMES: Mapping[Measure, Sequence[str]] = {
    "requests_running": ("sglang:num_running_reqs",),
    "requests_waiting": ("sglang:num_queue_reqs",),
    "requests_by_status": ("sglang:http_responses_total",),
    "prompt_tokens": ("sglang:prompt_tokens_total",),
    "completion_tokens": ("sglang:generation_tokens_total",),
    "time_to_first_token": ("sglang:time_to_first_token_seconds",),
    "inter_token": ("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
    "request_time": ("sglang:e2e_request_latency_seconds",),
    "queue_time": ("sglang:queue_time_seconds",),
    "cache_usage": ("sglang:token_usage",),
    "prefix_cache_hit_ratio": ("sglang:cache_hit_rate",),
    "preemptions": ("sglang:num_retracted_requests_total",),
}
