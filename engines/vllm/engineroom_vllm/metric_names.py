"""What vLLM measures, by its names in `/metrics`; of several the last are those of older versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineroom.engine import Measure

METRIC_NAMES: Mapping[Measure, Sequence[str]] = {
    "requests_running": ("vllm:num_requests_running",),
    "requests_waiting": ("vllm:num_requests_waiting",),
    "requests_by_status": ("http_requests_total",),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "completion_tokens": ("vllm:generation_tokens_total",),
    "time_to_first_token": ("vllm:time_to_first_token_seconds",),
    "inter_token": (
        "vllm:inter_token_latency_seconds",
        "vllm:time_per_output_token_seconds",
    ),
    "request_time": ("vllm:e2e_request_latency_seconds",),
    "queue_time": ("vllm:request_queue_time_seconds",),
    "prefill_time": ("vllm:request_prefill_time_seconds",),
    "decode_time": ("vllm:request_decode_time_seconds",),
    "cache_usage": (
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
    ),
    "prefix_cache_hits": (
        "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_hits_total",
    ),
    "prefix_cache_queries": (
        "vllm:prefix_cache_queries_total",
        "vllm:gpu_prefix_cache_queries_total",
    ),
    "preemptions": ("vllm:num_preemptions_total",),
}
