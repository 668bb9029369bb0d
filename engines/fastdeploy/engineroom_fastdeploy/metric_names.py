"""What FastDeploy measures, by its names in `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.engine import Measure

METRIC_NAMES: Mapping[Measure, Sequence[str]] = {
    "requests_running": ("fastdeploy:num_requests_running",),
    "requests_waiting": ("fastdeploy:num_requests_waiting",),
    "prompt_tokens": ("fastdeploy:prompt_tokens_total",),
    "completion_tokens": ("fastdeploy:generation_tokens_total",),
    "time_to_first_token": ("fastdeploy:time_to_first_token_seconds",),
    "inter_token": ("fastdeploy:time_per_output_token_seconds",),
    "request_time": ("fastdeploy:e2e_request_latency_seconds",),
    "queue_time": ("fastdeploy:request_queue_time_seconds",),
    "prefill_time": ("fastdeploy:request_prefill_time_seconds",),
    "decode_time": ("fastdeploy:request_decode_time_seconds",),
    "cache_usage": ("fastdeploy:gpu_cache_usage_perc",),
    "prefix_cache_hit_ratio": ("fastdeploy:hit_token_rate",),
}
