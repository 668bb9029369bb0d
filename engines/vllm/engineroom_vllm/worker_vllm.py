"""An environment written for worker-vllm, in vLLM's own terms, so that it works unchanged.

First the other names of the same settings, then values that are written otherwise, then older settings that became one,
and last those that vLLM no longer has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field

from engineroom.settings import Environment, FlagTable, OtherName, Settings, taken

KEY = "VLLM_API_KEY"
"""vLLM's own name for the key that its clients need; here the door checks keys."""


DEFAULTS: Mapping[str, str] = MappingProxyType({"COMPATIBILITY": "worker-vllm-2.28"})
"""Whoever has an environment of worker-vllm's has clients of its newest version, unless it says another."""


def _inverted(text: str) -> str:
    return "false" if text.strip().lower() in ("1", "true", "yes", "on") else "true"


RENAMED: Mapping[str, OtherName] = MappingProxyType(
    {
        **taken("CHAT_TEMPLATE", ["CUSTOM_CHAT_TEMPLATE"]),
        **taken("MODEL_NAME", ["MODEL"]),
        **taken("REVISION", ["MODEL_REVISION"]),
        **taken("RESPONSE_ROLE", ["OPENAI_RESPONSE_ROLE"]),
        **taken("TOKENIZER", ["TOKENIZER_NAME"]),
        **taken("ATTENTION_BACKEND", ["VLLM_ATTENTION_BACKEND"]),
        **taken("START_TIMEOUT", ["VLLM_STARTUP_TIMEOUT"]),
        **taken("ENABLE_LOG_REQUESTS", ["DISABLE_LOG_REQUESTS", "DISABLE_LOGGING_REQUEST"], _inverted),
    }
)
"""worker-vllm's names; of the last switches vLLM now has the opposite."""


_NOTHING = frozenset({"None", "none", "null"})
"""Words that worker-vllm's documentation gives as defaults, and that it takes as not set."""

_ZERO = frozenset({"0", "0.0"})
_ZERO_IS_NOTHING = (
    "MAX_CONTEXT_LEN_TO_CAPTURE",
    "MAX_CPU_LORAS",
    "MAX_MODEL_LEN",
    "MAX_NUM_BATCHED_TOKENS",
    "MAX_PARALLEL_LOADING_WORKERS",
    "NGRAM_PROMPT_LOOKUP_MAX",
    "NGRAM_PROMPT_LOOKUP_MIN",
    "NUM_GPU_BLOCKS_OVERRIDE",
    "NUM_SPECULATIVE_TOKENS",
    "ROPE_THETA",
    "SPECULATIVE_DISABLE_BY_BATCH_SIZE",
    "SPECULATIVE_DRAFT_TENSOR_PARALLEL_SIZE",
    "SPECULATIVE_MAX_MODEL_LEN",
    "TYPICAL_ACCEPTANCE_SAMPLER_POSTERIOR_ALPHA",
    "TYPICAL_ACCEPTANCE_SAMPLER_POSTERIOR_THRESHOLD",
)
"""Numbers of which it takes 0 as not set, as RunPod's forms send it for an empty box. All those of any version."""


def unset_values(flags: FlagTable) -> dict[str, frozenset[str]]:
    """Variables -> the values of theirs that worker-vllm takes as not set."""
    speculative = [setting.name for setting in SpeculativeSettings.describe()]
    unset = dict.fromkeys((*speculative, *DROPPED, *RENAMED), _NOTHING)
    for flag in flags.flags:
        choices = {choice.lower() for choice in flag.choices or ()}
        unset[flag.variable] = frozenset(word for word in _NOTHING if word.lower() not in choices)
    return {**unset, **{name: unset.get(name, _NOTHING) | _ZERO for name in _ZERO_IS_NOTHING}}


def translate(env: Environment) -> Environment:
    """The environment with every value written as vLLM takes it."""
    return Environment([layer._replace(values=_translated(layer.values)) for layer in env.layers])


def _translated(values: Mapping[str, str]) -> dict[str, str]:
    return {name: _SPELLINGS[name](value) if name in _SPELLINGS else value for name, value in values.items()}


def _max_model_len(value: str) -> str:
    """`auto` has vLLM take the longest that fits into memory, which its parser writes as -1."""
    return "-1" if value.strip().lower() == "auto" else value


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


_SPELLINGS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "LIMIT_MM_PER_PROMPT": _limit_mm_per_prompt,
        "LORA_MODULES": _lora_modules,
        "MAX_MODEL_LEN": _max_model_len,
    }
)
"""Settings whose values worker-vllm spells otherwise -> the value as vLLM's parser takes it."""


class SpeculativeSettings(Settings):
    """worker-vllm's older names for speculative decoding, a field each; SPECULATIVE_CONFIG wins over them all."""

    title: ClassVar[str] = "vLLM: speculative decoding, older names"

    speculative_method: str | None = Field(None, description="`method` of SPECULATIVE_CONFIG.")
    speculative_model: str | None = Field(None, description="`model` of SPECULATIVE_CONFIG; `[ngram]` for n-grams.")
    num_speculative_tokens: int | None = Field(
        None, ge=0, description="`num_speculative_tokens` of SPECULATIVE_CONFIG."
    )
    ngram_prompt_lookup_max: int | None = Field(None, ge=0, description="`prompt_lookup_max` of SPECULATIVE_CONFIG.")
    ngram_prompt_lookup_min: int | None = Field(None, ge=0, description="`prompt_lookup_min` of SPECULATIVE_CONFIG.")
    speculative_draft_tensor_parallel_size: int | None = Field(
        None, ge=0, description="`draft_tensor_parallel_size` of SPECULATIVE_CONFIG."
    )
    speculative_max_model_len: int | None = Field(None, ge=0, description="`max_model_len` of SPECULATIVE_CONFIG.")

    def as_config(self) -> dict[str, Any] | None:
        """What SPECULATIVE_CONFIG would be; None where neither a method nor a model is named."""
        if not self.speculative_method and not self.speculative_model:
            return None
        ngram = self.speculative_model == "[ngram]"
        fields = {
            "method": self.speculative_method or ("ngram" if ngram else None),
            "model": None if ngram else self.speculative_model,
            "num_speculative_tokens": self.num_speculative_tokens,
            "prompt_lookup_max": self.ngram_prompt_lookup_max,
            "prompt_lookup_min": self.ngram_prompt_lookup_min,
            "draft_tensor_parallel_size": self.speculative_draft_tensor_parallel_size,
            "max_model_len": self.speculative_max_model_len,
        }
        return {name: value for name, value in fields.items() if value}


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
        "QUANTIZATION_PARAM_PATH": "the scales belong in the checkpoint now; remove it",
        "ROPE_SCALING": _ROPE,
        "ROPE_THETA": _ROPE,
        "SCHEDULER_DELAY_FACTOR": "vLLM's scheduler has no such delay any more; remove it",
        "SPECULATIVE_DISABLE_BY_BATCH_SIZE": _SPECULATIVE,
        "SPEC_DECODING_ACCEPTANCE_METHOD": _SPECULATIVE,
        "SWAP_SPACE": "vLLM does not swap to CPU memory any more; KV_OFFLOADING_SIZE keeps KV cache there",
        "TASK": "write RUNNER=generate or RUNNER=pooling instead, and CONVERT to convert a model",
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
"""Settings of worker-vllm that vLLM no longer has -> what to do instead."""
