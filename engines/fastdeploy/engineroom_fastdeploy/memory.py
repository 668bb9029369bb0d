"""How FastDeploy uses a GPU's memory, by its own defaults: `gpu_memory_utilization` 0.9, 8192 tokens a step.
Its GPU engines have not run here: what a step costs is taken over from engines that work alike."""

from __future__ import annotations

from engineroom.memory import GIB, MIB, MemoryProfile, StepSize

MEMORY = MemoryProfile(
    share=0.9,
    share_setting="GPU_MEMORY_UTILIZATION",
    context_setting="MAX_MODEL_LEN",
    requests_setting="MAX_NUM_SEQS",
    parallel_setting="TENSOR_PARALLEL_SIZE",
    steps=(StepSize(from_gib=0, tokens=8192, sequences=256),),
    runtime_bytes=int(0.8 * GIB),
    parallel_bytes=int(0.8 * GIB),
    graph_bytes_per_layer=8 * MIB,
    logit_bytes=24,
    vision_bytes=GIB,
    block_tokens=64,
    oldest_sm=80,
)
