"""The server process: llama.cpp's HTTP server out of the xllamacpp library.

    python child.py '{"model": "…", "listen": "/…/engine.sock", "names": ["…"], "flags": {"ctx_size": 4096}}'

It imports nothing of ours, so that any Python with xllamacpp in it can run it. LLAMA_API_KEY is the key that
requests must carry. It serves until SIGTERM or SIGINT, and exits with 0 then; with 1 where it cannot start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

PLAIN = {
    "adaptive_decay": "sampling.adaptive_decay",
    "adaptive_target": "sampling.adaptive_target",
    "backend_sampling": "sampling.backend_sampling",
    "batch_size": "n_batch",
    "cache_idle_slots": "cache_idle_slots",
    "cache_prompt": "cache_prompt",
    "cache_ram": "cache_ram_mib",
    "cache_reuse": "n_cache_reuse",
    "chat_template": "chat_template",
    "check_tensors": "check_tensors",
    "checkpoint_min_step": "checkpoint_min_step",
    "cont_batching": "cont_batching",
    "context_shift": "ctx_shift",
    "ctx_checkpoints": "n_ctx_checkpoints",
    "ctx_size": "n_ctx",
    "dry_allowed_length": "sampling.dry_allowed_length",
    "dry_base": "sampling.dry_base",
    "dry_multiplier": "sampling.dry_multiplier",
    "dry_penalty_last_n": "sampling.dry_penalty_last_n",
    "dynatemp_exp": "sampling.dynatemp_exponent",
    "dynatemp_range": "sampling.dynatemp_range",
    "embd_normalize": "embd_normalize",
    "embeddings": "embedding",
    "fit_ctx": "fit_params_min_ctx",
    "frequency_penalty": "sampling.penalty_freq",
    "ignore_eos": "sampling.ignore_eos",
    "image_max_tokens": "image_max_tokens",
    "image_min_tokens": "image_min_tokens",
    "jinja": "use_jinja",
    "keep": "n_keep",
    "kv_unified": "kv_unified",
    "kv_unified_per_slot": "kv_unified_per_slot",
    "log_verbosity": "verbosity",
    "lora_init_without_apply": "lora_init_without_apply",
    "main_gpu": "main_gpu",
    "min_p": "sampling.min_p",
    "mirostat": "sampling.mirostat",
    "mirostat_ent": "sampling.mirostat_tau",
    "mirostat_lr": "sampling.mirostat_eta",
    "mmproj": "mmproj.path",
    "mmproj_device": "mmproj_device",
    "mmproj_offload": "mmproj_use_gpu",
    "mtmd_batch_max_tokens": "mtmd_batch_max_tokens",
    "n_predict": "n_predict",
    "no_host": "no_host",
    "parallel": "n_parallel",
    "prefill_assistant": "prefill_assistant",
    "presence_penalty": "sampling.penalty_present",
    "reasoning_budget": "sampling.reasoning_budget_tokens",
    "reasoning_budget_message": "sampling.reasoning_budget_message",
    "repeat_last_n": "sampling.penalty_last_n",
    "repeat_penalty": "sampling.penalty_repeat",
    "rope_freq_base": "rope_freq_base",
    "rope_freq_scale": "rope_freq_scale",
    "samplers": "sampling.samplers",
    "seed": "sampling.seed",
    "skip_chat_parsing": "force_pure_content_parser",
    "slot_prompt_similarity": "slot_prompt_similarity",
    "swa_full": "swa_full",
    "temperature": "sampling.temp",
    "top_k": "sampling.top_k",
    "top_p": "sampling.top_p",
    "typical_p": "sampling.typ_p",
    "ubatch_size": "n_ubatch",
    "video_ffmpeg_dir": "video_ffmpeg_bin_dir",
    "video_fps": "video_fps",
    "video_timestamp_interval": "video_timestamp_interval_ms",
    "warmup": "warmup",
    "xtc_probability": "sampling.xtc_probability",
    "xtc_threshold": "sampling.xtc_threshold",
    "yarn_attn_factor": "yarn_attn_factor",
    "yarn_beta_fast": "yarn_beta_fast",
    "yarn_beta_slow": "yarn_beta_slow",
    "yarn_ext_factor": "yarn_ext_factor",
    "yarn_orig_ctx": "yarn_orig_ctx",
}
"""Flags of llama.cpp's server -> the attribute of CommonParams that takes the same value."""

INVERTED = {
    "kv_offload": "no_kv_offload",
    "mmproj_auto": "no_mmproj",
    "op_offload": "no_op_offload",
    "repack": "no_extra_bufts",
}

CHOICES = {
    "cache_type_k": ("cache_type_k", "ggml_type", "GGML_TYPE_"),
    "cache_type_v": ("cache_type_v", "ggml_type", "GGML_TYPE_"),
    "flash_attn": ("flash_attn_type", "llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_"),
    "lazy_mode": ("lazy_mode", "llama_lazy_mode", "LLAMA_LAZY_MODE_"),
    "load_mode": ("load_mode", "llama_load_mode", "LLAMA_LOAD_MODE_"),
    "numa": ("numa", "ggml_numa_strategy", "GGML_NUMA_STRATEGY_"),
    "pooling": ("pooling_type", "llama_pooling_type", "LLAMA_POOLING_TYPE_"),
    "reasoning_format": ("reasoning_format", "common_reasoning_format", "COMMON_REASONING_FORMAT_"),
    "rope_scaling": ("rope_scaling_type", "llama_rope_scaling_type", "LLAMA_ROPE_SCALING_TYPE_"),
    "split_mode": ("split_mode", "llama_split_mode", "LLAMA_SPLIT_MODE_"),
}
"""Flags that take one of a few words -> attribute, enumeration, and what the words' names begin with there."""

_NAMES = {"flash_attn": {"on": "ENABLED", "off": "DISABLED"}, "load_mode": {"dio": "DIRECT_IO"}}

SPECIAL = frozenset(
    {
        "chat_template_file",
        "chat_template_kwargs",
        "fit",
        "lora",
        "lora_scaled",
        "media_path",
        "moe_cache_mib",
        "n_gpu_layers",
        "reasoning",
        "reasoning_effort",
        "reranking",
        "rope_scale",
        "tensor_split",
        "threads",
        "threads_batch",
    }
)
"""Flags that `_special` deals with."""

_EXPECTED = {
    "chat_template_file": "a text file in UTF-8",
    "chat_template_kwargs": "a JSON object",
    "lora_scaled": "adapters as FILE:SCALE, separated by commas, each scale a number",
    "n_gpu_layers": "a number, `auto` or `all`",
    "rope_scale": "a number other than 0",
    "tensor_split": "numbers separated by commas, one for each GPU",
}
"""What the values of some flags have to be, which are read here only."""

SUPPORTED = frozenset({*PLAIN, *INVERTED, *CHOICES, *SPECIAL})


def main() -> int:
    job = json.loads(sys.argv[1])
    try:
        import xllamacpp
    except ImportError as error:
        print(f"error: xllamacpp cannot be imported: {error}", file=sys.stderr)
        return 1
    ended = threading.Event()
    try:
        params = common_params(job["flags"])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    params.model.path = job["model"]
    params.model_alias = set(job["names"])
    params.hostnames = [job["listen"]]
    params.port = job.get("port", 0)
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    params.endpoint_metrics = True
    params.ui = False
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    # Only now: the library sets its own handlers while it starts, which would end its server and not the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(3600):
        pass
    del server
    return 0


def common_params(flags: dict[str, Any]) -> Any:
    """The CommonParams that llama.cpp's own parser would make of these flags."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.n_parallel = -1
    params.default_template_kwargs = {"preserve_reasoning": "true"}
    for flag, value in flags.items():
        try:
            _apply(params, flag, value, flags)
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            wanted = f"expected {_EXPECTED[flag]}" if flag in _EXPECTED else str(error)
            raise ValueError(f"{flag.upper()}={value}: {wanted}") from error
    return params


def _apply(params: Any, flag: str, value: Any, flags: dict[str, Any]) -> None:
    """Set what one flag stands for."""
    import xllamacpp

    if flag in PLAIN:
        _set(params, PLAIN[flag], value)
        _mark_as_users(params, PLAIN[flag])
    elif flag in INVERTED:
        _set(params, INVERTED[flag], not value)
    elif flag in CHOICES:
        attribute, enumeration, prefix = CHOICES[flag]
        name = _NAMES.get(flag, {}).get(value, value.upper().replace("-", "_").replace("+", "_"))
        members = getattr(xllamacpp, enumeration)
        if not hasattr(members, prefix + name):
            words = ", ".join(word.removeprefix(prefix).lower() for word in dir(members) if word.startswith(prefix))
            raise ValueError(f"expected one of {words}")
        _set(params, attribute, getattr(members, prefix + name))
    else:
        _special(params, flag, value, flags)


def _set(params: Any, path: str, value: Any) -> None:
    *outer, name = path.split(".")
    for attribute in outer:
        params = getattr(params, attribute)
    setattr(params, name, value)


def _mark_as_users(params: Any, path: str) -> None:
    """A sampling parameter that the user set wins over what the model's file recommends."""
    import xllamacpp

    name = "COMMON_PARAMS_SAMPLING_CONFIG_" + path.removeprefix("sampling.").upper()
    if path.startswith("sampling.") and (flag := getattr(xllamacpp.common_params_sampling_config, name, None)):
        params.sampling.user_sampling_config |= flag.value


def _special(params: Any, flag: str, value: Any, flags: dict[str, Any]) -> None:
    import xllamacpp

    if flag == "threads":
        params.cpuparams.n_threads = value
        params.cpuparams_batch.n_threads = flags.get("threads_batch", value)
    elif flag == "threads_batch":
        params.cpuparams_batch.n_threads = value
    elif flag == "n_gpu_layers":
        params.n_gpu_layers = {"auto": -1, "all": -2}.get(value) or int(value)
    elif flag == "fit":
        params.fit_params = value == "on"
    elif flag == "media_path":
        params.media_path = os.path.join(value, "")
    elif flag == "moe_cache_mib":
        params.moe_cache_size = value << 20
    elif flag == "rope_scale":
        params.rope_freq_scale = 1.0 / value
    elif flag == "tensor_split":
        shares = [float(share) for share in value.replace("/", ",").split(",")]
        params.tensor_split = [*shares, *[0.0] * (len(params.tensor_split) - len(shares))]
    elif flag == "reranking" and value:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    elif flag == "chat_template_file":
        params.chat_template = Path(value).read_text(encoding="utf-8")
    elif flag == "chat_template_kwargs":
        _template(params, {name: json.dumps(item) for name, item in json.loads(value).items()})
    elif flag == "reasoning_effort" and value != "default":
        _template(params, {"reasoning_effort": json.dumps(value)})
    elif flag == "reasoning" and value != "auto":
        params.enable_reasoning = int(value == "on")
        _template(params, {"enable_thinking": json.dumps(value == "on")})
    elif flag in ("lora", "lora_scaled"):
        for part in value.split(","):
            path, _, scale = part.rpartition(":") if flag == "lora_scaled" else (part, "", "1")
            adapter = xllamacpp.CommonAdapterLoraInfo()
            adapter.path = path
            adapter.scale = float(scale)
            params.lora_adapters = [*params.lora_adapters, adapter]


def _template(params: Any, arguments: dict[str, str]) -> None:
    params.default_template_kwargs = {**params.default_template_kwargs, **arguments}


if __name__ == "__main__":
    sys.exit(main())
