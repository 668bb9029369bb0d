"""worker-vllm's names and ways to write a value, in vLLM's own terms.

Names are the engine's `aliases`; here is what a name alone does not say: a value written otherwise, or one that
means "not set".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from engineroom.settings import Environment, Setting

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "CUSTOM_CHAT_TEMPLATE": "CHAT_TEMPLATE",
        "MODEL": "MODEL_NAME",
        "MODEL_REVISION": "REVISION",
        "OPENAI_RESPONSE_ROLE": "RESPONSE_ROLE",
        "TOKENIZER_NAME": "TOKENIZER",
        "VLLM_ATTENTION_BACKEND": "ATTENTION_BACKEND",
        "VLLM_STARTUP_TIMEOUT": "START_TIMEOUT",
    }
)

INVERTED: Mapping[str, str] = MappingProxyType(
    {"DISABLE_LOG_REQUESTS": "ENABLE_LOG_REQUESTS", "DISABLE_LOGGING_REQUEST": "ENABLE_LOG_REQUESTS"}
)
"""Switches that vLLM has turned round."""


def translate(env: Environment, flags: Mapping[str, object]) -> Environment:
    """The environment with every value written as vLLM takes it.

    Args:
        flags: the variables that are vLLM's flags. `None` counts as not set for them: worker-vllm's documentation
            gives it as a default.
    """
    return Environment([layer._replace(values=_translated(layer.values, flags)) for layer in env.layers])


def _translated(values: Mapping[str, str], flags: Mapping[str, object]) -> dict[str, str]:
    changed = {}
    for name, value in values.items():
        if name in flags and value.strip() in ("", "None"):
            continue
        changed[name] = _WRITTEN[name](value) if name in _WRITTEN else value
    for old, new in INVERTED.items():
        if values.get(old) and not values.get(new):
            changed[new] = "false" if values[old].strip().lower() in ("1", "true", "yes", "on") else "true"
    return changed


def _zero_is_unset(value: str) -> str:
    return "" if value.strip() == "0" else value


def _max_model_len(value: str) -> str:
    """`auto` has vLLM take the longest that fits into memory, which its parser writes as -1."""
    return "-1" if value.strip().lower() == "auto" else _zero_is_unset(value)


def _lora_modules(value: str) -> str:
    """A JSON list of adapters, one JSON object, or `name=path` as often as need be: as a JSON list of strings."""
    text = value.strip()
    if text.startswith("{"):
        text = f"[{text}]"
    try:
        adapters = json.loads(text) if text.startswith("[") else text.replace(",", " ").split()
    except ValueError:
        return value
    return json.dumps([one if isinstance(one, str) else json.dumps(one) for one in adapters]) if adapters else ""


def _limit_mm_per_prompt(value: str) -> str:
    """`image=1,video=0` as JSON."""
    if value.strip().startswith("{"):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(count.strip().isdigit() for _, _, count in pairs):
        return value
    return json.dumps({name.strip(): int(count) for name, _, count in pairs})


_WRITTEN: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "LIMIT_MM_PER_PROMPT": _limit_mm_per_prompt,
        "LORA_MODULES": _lora_modules,
        "MAX_MODEL_LEN": _max_model_len,
        "MAX_NUM_BATCHED_TOKENS": _zero_is_unset,
    }
)


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
