"""How transformers uses a GPU's memory: GPU_MEMORY_UTILIZATION of what the weights leave is cache and the peak of a
step. That it takes so much was seen on an H100; what its parts are is reckoned."""

from __future__ import annotations

from engineroom.memory import GIB, MIB, MemoryProfile, StepSize

MEMORY = MemoryProfile(
    share=0.85,
    share_setting="GPU_MEMORY_UTILIZATION",
    context_setting="MAX_MODEL_LEN",
    requests_setting="MAX_NUM_SEQS",
    parallel_setting="TENSOR_PARALLEL_SIZE",
    steps=(StepSize(from_gib=0, tokens=2048, sequences=64),),
    runtime_bytes=int(0.8 * GIB),
    parallel_bytes=int(0.8 * GIB),
    graph_bytes_per_layer=4 * MIB,
    hidden_copies=10,
    logit_bytes=16,
    vision_bytes=GIB,
    window_holds_step=True,
    block_tokens=32,
    oldest_sm=70,
)
