"""How SGLang uses a GPU's memory, by its own defaults.

It takes a share for weights and cache (`mem_fraction_static`, which it works out from the GPU: about 0.88 where it is
not set) and leaves the rest to steps. It has not run on a GPU here: what a step costs is taken over from engines that
work alike."""

from __future__ import annotations

from engineroom.memory import GIB, MIB, MemoryProfile, StepSize

MEMORY = MemoryProfile(
    share=0.88,
    share_setting="MEM_FRACTION_STATIC",
    context_setting="CONTEXT_LENGTH",
    requests_setting="MAX_RUNNING_REQUESTS",
    parallel_setting="TENSOR_PARALLEL_SIZE",
    cache_setting="KV_CACHE_DTYPE",
    cache_types={"auto": 0, "bfloat16": 2, "bf16": 2, "fp8_e4m3": 1, "fp8_e5m2": 1},
    steps=(StepSize(from_gib=0, tokens=8192, sequences=256),),
    runtime_bytes=GIB,
    parallel_bytes=GIB,
    graph_bytes_per_layer=12 * MIB,
    logit_bytes=12,
    vision_bytes=GIB,
)
