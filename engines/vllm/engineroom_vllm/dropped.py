"""Settings that worker-vllm or an older vLLM had and this one does not: what to do instead.

They warn and are not refused, so that an old environment file still starts its worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from engineroom.settings import Setting

_SPECULATIVE = "not one of vLLM's any more; SPECULATIVE_CONFIG takes what vLLM has now"
_PREEMPTION = "vLLM's scheduler recomputes what it preempts and has no setting for it; remove it"
_POOL = "vLLM tokenises in its API process; remove it"
_ROPE = 'write HF_OVERRIDES={"rope_parameters": {…}} instead'
_GRAPHS = "write MAX_CUDAGRAPH_CAPTURE_SIZE instead, which counts tokens of a batch, or leave it to vLLM"

DROPPED: Mapping[str, str] = MappingProxyType(
    {
        "DEVICE": "vLLM's build decides its device; remove it",
        "DISABLE_ASYNC_OUTPUT_PROC": "write ASYNC_SCHEDULING=false instead",
        "DISABLE_FRONTEND_MULTIPROCESSING": "vLLM always runs in a process of its own; remove it",
        "DISABLE_LOGITS_PROCESSORS_CACHE": "remove it",
        "ENABLE_MAMBA_FINE_GRAINED_PREFIX_CACHE": "gone since vLLM 0.31; ENABLE_MAMBA_SHARED_PREFIX_CHECKPOINT is near",
        "ENABLE_REASONING": "REASONING_PARSER alone turns reasoning on; remove it",
        "GUIDED_DECODING_BACKEND": 'write STRUCTURED_OUTPUTS_CONFIG={"backend": "…"} instead, or leave it to vLLM',
        "LONG_LORA_SCALING_FACTORS": "LoRA for longer contexts is gone from vLLM; remove it",
        "LORA_EXTRA_VOCAB_SIZE": "adapters with tokens of their own are gone from vLLM; remove it",
        "MAX_CONTEXT_LEN_TO_CAPTURE": _GRAPHS,
        "MAX_SEQ_LEN_TO_CAPTURE": _GRAPHS,
        "NUM_LOOKAHEAD_SLOTS": "vLLM sets it from SPECULATIVE_CONFIG; remove it",
        "NUM_SCHEDULER_STEPS": "write ASYNC_SCHEDULING=true instead, which is vLLM's default where it can",
        "PREEMPTION_CHECK_PERIOD": _PREEMPTION,
        "PREEMPTION_CPU_CAPACITY": _PREEMPTION,
        "PREEMPTION_MODE": _PREEMPTION,
        "QUANTIZATION_PARAM_PATH": "the scales belong into the checkpoint now; remove it",
        "ROPE_SCALING": _ROPE,
        "ROPE_THETA": _ROPE,
        "SCHEDULER_DELAY_FACTOR": "vLLM's scheduler has no such delay any more; remove it",
        "SPECULATIVE_DISABLE_BY_BATCH_SIZE": _SPECULATIVE,
        "SPEC_DECODING_ACCEPTANCE_METHOD": _SPECULATIVE,
        "SWAP_SPACE": "vLLM does not swap to CPU memory any more; KV_OFFLOADING_SIZE keeps KV cache there",
        "TASK": "write RUNNER=generate or RUNNER=pooling instead, and CONVERT where a model is to be converted",
        "TOKENIZER_POOL_EXTRA_CONFIG": _POOL,
        "TOKENIZER_POOL_SIZE": _POOL,
        "TOKENIZER_POOL_TYPE": _POOL,
        "TRANSFORMERS_VERSION": "install it into vLLM's Python when the image is built; remove it",
        "TYPICAL_ACCEPTANCE_SAMPLER_POSTERIOR_ALPHA": _SPECULATIVE,
        "TYPICAL_ACCEPTANCE_SAMPLER_POSTERIOR_THRESHOLD": _SPECULATIVE,
        "USE_V2_BLOCK_MANAGER": "there is no other any more; remove it",
        "VLLM_PORT": "this worker speaks to vLLM over a Unix socket; PORT is the HTTP door's",
        "WORKER_CUDA_VERSION": "the image decides the CUDA version; remove it",
        "WORKER_USE_RAY": "write DISTRIBUTED_EXECUTOR_BACKEND=ray instead",
    }
)


class DroppedSettings:
    """The names above as settings, so that they are known and documented; those the snapshot has are left out."""

    title = "Gone from vLLM"

    def __init__(self, present: Mapping[str, object]) -> None:
        self.names = {name: advice for name, advice in DROPPED.items() if name not in present}

    def describe(self) -> Sequence[Setting]:
        return [Setting(name, help=f"Ignored with a warning: {advice}.") for name, advice in self.names.items()]
