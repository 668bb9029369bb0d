"""How llama.cpp uses a GPU's memory: the whole cache for CTX_SIZE, which all requests share, from the start; and one
buffer for the logits of a micro-batch (UBATCH_SIZE, 512). Several GPUs hold layers each, not parts of each layer."""

from __future__ import annotations

from engineroom.memory import GIB, MemoryProfile, StepSize

MEMORY = MemoryProfile(
    share=1.0,
    context_setting="CTX_SIZE",
    requests_setting="PARALLEL",
    requests_in_context=True,
    cache_setting="CACHE_TYPE_K",
    cache_types={
        "f16": 2,
        "bf16": 2,
        "f32": 4,
        "q8_0": 34 / 32,
        "q5_1": 24 / 32,
        "q5_0": 22 / 32,
        "q4_1": 20 / 32,
        "q4_0": 18 / 32,
        "iq4_nl": 18 / 32,
    },
    steps=(StepSize(from_gib=0, tokens=512, sequences=512),),
    runtime_bytes=int(0.6 * GIB),
    hidden_copies=4,
    logit_bytes=4,
    vision_bytes=GIB // 2,
    block_tokens=256,
    oldest_sm=60,
    splits_layers=True,
)
