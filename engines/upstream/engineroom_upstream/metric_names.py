"""What servers measure for which there is no engine of their own here, by their names in `/metrics`: SGLang, TGI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.engine import Measure

METRIC_NAMES: Mapping[Measure, Sequence[str]] = {
    "requests_running": (
        "sglang:num_running_reqs",
        "tgi_batch_current_size",
    ),
    "requests_waiting": (
        "sglang:num_queue_reqs",
        "tgi_queue_size",
    ),
    "prompt_tokens": (
        "sglang:prompt_tokens_total",
        "tgi_request_input_length_sum",
    ),
    "completion_tokens": (
        "sglang:generation_tokens_total",
        "tgi_request_generated_tokens_sum",
    ),
    "time_to_first_token": ("sglang:time_to_first_token_seconds",),
    "inter_token": (
        "sglang:inter_token_latency_seconds",
        "sglang:time_per_output_token_seconds",
        "tgi_request_mean_time_per_token_duration",
    ),
    "request_time": (
        "sglang:e2e_request_latency_seconds",
        "tgi_request_duration",
    ),
    "queue_time": (
        "sglang:queue_time_seconds",
        "tgi_request_queue_duration",
    ),
    "cache_usage": ("sglang:token_usage",),
    "prefix_cache_hit_ratio": ("sglang:cache_hit_rate",),
}
