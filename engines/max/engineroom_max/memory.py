"""How MAX uses a GPU's memory, by its own defaults (`device_memory_utilization` 0.9).

It has not run on a GPU here: what a step costs is taken over from engines that work alike."""

from __future__ import annotations

from engineroom.memory import GIB, MIB, MemoryProfile, StepSize

MEMORY = MemoryProfile(
    share=0.9,
    share_setting="DEVICE_MEMORY_UTILIZATION",
    context_setting="MAX_LENGTH",
    requests_setting="MAX_BATCH_SIZE",
    steps=(StepSize(from_gib=0, tokens=8192, sequences=512),),
    runtime_bytes=GIB,
    parallel_bytes=GIB,
    graph_bytes_per_layer=8 * MIB,
    logit_bytes=12,
    vision_bytes=GIB,
    block_tokens=128,
    oldest_sm=80,
)
