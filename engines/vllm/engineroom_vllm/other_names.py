"""Names from elsewhere for vLLM's flags, beside those of worker-vllm."""

from __future__ import annotations

from collections.abc import Mapping

from engineroom.settings import OtherName, UsualSetting, doubted, dropped, refused, taken
from engineroom.settings import usual_settings as usual

from .worker_vllm import DROPPED, KEY, RENAMED

USUAL_SETTINGS: Mapping[UsualSetting, str] = {
    usual.CONTEXT_LENGTH: "MAX_MODEL_LEN",
    usual.ADAPTERS: "LORA_DIR",
    usual.PARALLEL_REQUESTS: "MAX_NUM_SEQS",
    usual.BATCH_TOKENS: "MAX_NUM_BATCHED_TOKENS",
    usual.GPU_MEMORY: "GPU_MEMORY_UTILIZATION",
    usual.TENSOR_PARALLEL: "TENSOR_PARALLEL_SIZE",
    usual.QUANTISATION: "QUANTIZATION",
    usual.MODEL_REVISION: "REVISION",
    usual.DTYPE: "DTYPE",
    usual.TOKENIZER: "TOKENIZER",
    usual.CHAT_TEMPLATE: "CHAT_TEMPLATE",
    usual.REMOTE_CODE: "TRUST_REMOTE_CODE",
    usual.KV_CACHE_TYPE: "KV_CACHE_DTYPE",
}

OTHER_NAMES: Mapping[str, OtherName] = {
    **dropped(DROPPED),
    **taken("API_KEYS", [KEY]),
    **taken("PIPELINE_PARALLEL_SIZE", ["PP_SIZE"]),
    **taken("DATA_PARALLEL_SIZE", ["DP_SIZE"]),
    **taken("DOWNLOAD_DIR", ["DOWNLOAD_DIRECTORY"]),
    **refused("KV_CACHE_MEMORY_BYTES", "in bytes, and for all requests together", ["MAX_BATCH_TOTAL_TOKENS"]),
    **refused(
        "CPU_OFFLOAD_GB",
        "GiB of weights that stay in the memory of the CPU",
        ["CPU_OFFLOAD", "CPU_OFFLOADING"],
    ),
    **refused("SPECULATIVE_CONFIG", "a JSON object", ["DRAFT_MODEL", "SPECULATE"]),
    **refused("ENABLE_PREFIX_CACHING", "true or false", ["DISABLE_RADIX_CACHE", "PREFIX_CACHING"]),
    **refused("ENFORCE_EAGER", "true or false", ["CUDA_GRAPHS", "DISABLE_CUDA_GRAPH"]),
    **doubted("MAX_LORAS", "the number of adapters in one batch", ["LORA_ADAPTERS"]),
    **RENAMED,
}
"""A later line wins over an earlier one."""
