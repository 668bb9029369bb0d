"""How vLLM uses a GPU's memory.

From its own sources (0.33): the defaults of `EngineArgs.get_batch_defaults`, `KVCacheSpec.max_memory_usage_bytes`, and
`gpu_memory_utilization`, in which weights, the peak of a step, recorded graphs and the cache have to fit. What a step's
logits cost is what sampling makes of them: copies in 32 bits, their order, and probabilities. The bytes of a logit, a
layer's graphs and the runtime are set so that they agree with what logs of vLLM state; operations/tests/fit has them.
"""

from __future__ import annotations

from engineroom.memory import GIB, MIB, MemoryProfile, StepSize

from .snapshots import DEFAULTS

MEMORY = MemoryProfile(
    share=float(DEFAULTS["gpu_memory_utilization"]),
    share_setting="GPU_MEMORY_UTILIZATION",
    context_setting="MAX_MODEL_LEN",
    requests_setting="MAX_NUM_SEQS",
    parallel_setting="TENSOR_PARALLEL_SIZE",
    cache_setting="KV_CACHE_DTYPE",
    cache_types={"auto": 0, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1},
    steps=(
        StepSize(from_gib=160, tokens=16384, sequences=1024),
        StepSize(from_gib=70, tokens=8192, sequences=1024, not_on=("a100",)),
        StepSize(from_gib=0, tokens=2048, sequences=256),
    ),
    runtime_bytes=int(0.5 * GIB),
    parallel_bytes=int(0.7 * GIB),
    graph_bytes_per_layer=12 * MIB,
    hidden_copies=6,
    logit_bytes=24,
    vision_bytes=int(0.8 * GIB),
)
