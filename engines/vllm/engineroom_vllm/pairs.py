"""Settings of vLLM that need each other: what vLLM refuses only after it has imported for a quarter of a minute.

Each rule is one of vLLM's own, from the checks of its parsed command line (`validate_parsed_serve_args`), its
configuration classes' validators, or `create_engine_config`; `tests/test_refused_values.py` asks vLLM itself whether it
refuses the same. Rules that depend on the model or the machine are left to vLLM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engineroom.errors import Problem
from engineroom.settings import Environment, FlagRule, FlagValues, broken_rules

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "data_parallel_backend": "mp",
        "data_parallel_size": 1,
        "max_loras": 1,
        "nnodes": 1,
        "offload_group_size": 0,
        "prefill_context_parallel_size": 1,
        "tensor_parallel_size": 1,
    }
)
"""vLLM's own, of the flags that rules go by."""


_OF_ADAPTERS = frozenset({"api_server_count", "enable_lora", "lora_modules", "max_cpu_loras", "max_loras"})
"""Flags that the worker has to know where it loads adapters itself."""


def _has(config: str, key: str) -> Callable[[FlagValues], bool]:
    """Whether a JSON object holds a key."""
    return lambda values: values.key(config, key) is not None


_RULES = (
    FlagRule(
        "enable_auto_tool_choice",
        ("tool_call_parser",),
        lambda v: v.enable_auto_tool_choice and not v.tool_call_parser,
        "needs TOOL_CALL_PARSER, the parser of the model's tool calls",
    ),
    FlagRule(
        "enable_log_outputs",
        ("enable_log_requests",),
        lambda v: v.enable_log_outputs and not v.enable_log_requests,
        "needs ENABLE_LOG_REQUESTS=true",
    ),
    FlagRule(
        "enable_per_request_metrics",
        ("disable_log_stats",),
        lambda v: v.enable_per_request_metrics and v.disable_log_stats,
        "needs vLLM's statistics; remove DISABLE_LOG_STATS",
    ),
    FlagRule(
        "collect_detailed_traces",
        ("otlp_traces_endpoint",),
        lambda v: not v.otlp_traces_endpoint,
        "needs OTLP_TRACES_ENDPOINT, where the traces go",
    ),
    FlagRule("numa_bind_nodes", ("numa_bind",), lambda v: not v.numa_bind, "needs NUMA_BIND=true"),
    FlagRule("numa_bind_cpus", ("numa_bind",), lambda v: not v.numa_bind, "needs NUMA_BIND=true"),
    FlagRule(
        "enable_eplb",
        ("enable_expert_parallel",),
        lambda v: v.enable_eplb and not v.enable_expert_parallel,
        "needs ENABLE_EXPERT_PARALLEL=true",
    ),
    FlagRule(
        "lora_modules",
        ("enable_lora",),
        lambda v: v.enable_lora is False,
        "needs LoRA, which ENABLE_LORA=false switches off; remove that",
    ),
    FlagRule(
        "max_cpu_loras",
        ("max_loras", "enable_lora"),
        lambda v: v.enable_lora and v.max_cpu_loras < v.max_loras,
        "must be at least MAX_LORAS",
    ),
    FlagRule(
        "data_parallel_external_lb",
        ("data_parallel_rank", "data_parallel_size", "nnodes"),
        lambda v: (
            v.data_parallel_external_lb
            and v.data_parallel_rank is None
            and not (v.data_parallel_size > 1 and v.nnodes > 1)
        ),
        "needs DATA_PARALLEL_RANK, or DATA_PARALLEL_SIZE and NNODES above 1 with NODE_RANK",
    ),
    FlagRule(
        "data_parallel_rank",
        ("data_parallel_size",),
        lambda v: v.data_parallel_size <= 1,
        "needs DATA_PARALLEL_SIZE above 1",
    ),
    FlagRule(
        "data_parallel_hybrid_lb",
        ("data_parallel_external_lb", "data_parallel_rank"),
        lambda v: v.data_parallel_hybrid_lb and bool(v.data_parallel_external_lb or v.data_parallel_rank is not None),
        "cannot be combined with DATA_PARALLEL_EXTERNAL_LB or DATA_PARALLEL_RANK",
    ),
    FlagRule(
        "data_parallel_hybrid_lb",
        ("data_parallel_size_local",),
        lambda v: v.data_parallel_hybrid_lb and v.data_parallel_size_local is None,
        "needs DATA_PARALLEL_SIZE_LOCAL, the number of ranks on this machine",
    ),
    FlagRule(
        "data_parallel_size_local",
        ("data_parallel_size",),
        lambda v: v.data_parallel_size_local > v.data_parallel_size,
        "must be at most DATA_PARALLEL_SIZE",
    ),
    FlagRule(
        "data_parallel_multi_port_external_lb",
        (),
        lambda v: bool(v.data_parallel_multi_port_external_lb),
        "opens ports of its own, and this worker speaks to vLLM over one Unix socket; remove it",
    ),
    FlagRule(
        "node_rank",
        ("nnodes",),
        lambda v: v.nnodes > 1 and v.node_rank >= v.nnodes,
        "must be less than NNODES; the first machine's is 0",
    ),
    FlagRule(
        "nnodes",
        ("data_parallel_backend",),
        lambda v: v.nnodes > 1 and v.data_parallel_backend != "mp",
        "needs DATA_PARALLEL_BACKEND=mp where it is above 1",
    ),
    FlagRule(
        "decode_context_parallel_size",
        ("tensor_parallel_size", "prefill_context_parallel_size"),
        lambda v: v.prefill_context_parallel_size == 1 and v.tensor_parallel_size % v.decode_context_parallel_size != 0,
        "must divide TENSOR_PARALLEL_SIZE",
    ),
    FlagRule(
        "max_num_batched_tokens",
        ("max_num_seqs",),
        lambda v: bool(v.max_num_seqs and (v.number("max_num_batched_tokens") or v.max_num_seqs) < v.max_num_seqs),
        "must be at least MAX_NUM_SEQS",
    ),
    FlagRule(
        "max_num_batched_tokens",
        ("max_model_len", "enable_chunked_prefill"),
        lambda v: (
            v.enable_chunked_prefill is False
            and (v.number("max_num_batched_tokens") or 0) < (v.number("max_model_len") or 0)
        ),
        "must be at least MAX_MODEL_LEN where ENABLE_CHUNKED_PREFILL=false",
    ),
    FlagRule(
        "max_num_active_seqs",
        ("max_num_seqs",),
        lambda v: bool(v.max_num_seqs and v.max_num_active_seqs > v.max_num_seqs),
        "must be at most MAX_NUM_SEQS",
    ),
    FlagRule(
        "long_prefill_token_threshold",
        ("max_model_len",),
        lambda v: bool(v.number("max_model_len") and v.long_prefill_token_threshold > v.number("max_model_len")),
        "must be at most MAX_MODEL_LEN",
    ),
    FlagRule(
        "offload_num_in_group",
        ("offload_group_size", "offload_backend"),
        lambda v: (
            bool(v.offload_group_size or v.offload_backend == "prefetch")
            and v.offload_num_in_group > v.offload_group_size
        ),
        "must be at most OFFLOAD_GROUP_SIZE",
    ),
    *(
        FlagRule(
            flag,
            ("speculative_config",),
            _has("speculative_config", key),
            f"stands in SPECULATIVE_CONFIG as {key} already; remove one of them",
        )
        for flag, key in (("spec_method", "method"), ("spec_model", "model"), ("spec_tokens", "num_speculative_tokens"))
    ),
    FlagRule(
        "spec_tokens",
        ("spec_method", "spec_model", "speculative_config"),
        lambda v: not (v.spec_method or v.spec_model or v.speculative_config),
        "needs SPEC_MODEL, the model that drafts, or a SPEC_METHOD that needs none, such as ngram",
    ),
    FlagRule(
        "speculative_config",
        ("spec_method", "spec_model"),
        lambda v: (
            not (
                v.spec_method
                or v.spec_model
                or v.key("speculative_config", "method")
                or v.key("speculative_config", "model")
            )
        ),
        'needs "model", the model that drafts, or a "method" that needs none, such as ngram',
    ),
    FlagRule(
        "speculative_config",
        ("spec_tokens",),
        lambda v: (
            v.key("speculative_config", "method") == "ngram"
            and not (v.spec_tokens or v.key("speculative_config", "num_speculative_tokens"))
        ),
        'needs "num_speculative_tokens" with the method ngram',
    ),
    FlagRule(
        "kv_transfer_config",
        (),
        lambda v: bool(v.key("kv_transfer_config", "kv_connector") and not v.key("kv_transfer_config", "kv_role")),
        'needs "kv_role" beside "kv_connector": kv_producer, kv_consumer or kv_both',
    ),
    *(
        FlagRule(
            flag,
            (config,),
            _has(config, key),
            f"stands in {config.upper()} as {key} already; remove one of them",
        )
        for flag, config, key in (
            ("attention_backend", "attention_config", "backend"),
            ("cudagraph_capture_sizes", "compilation_config", "cudagraph_capture_sizes"),
            ("max_cudagraph_capture_size", "compilation_config", "max_cudagraph_capture_size"),
            ("enable_flashinfer_autotune", "kernel_config", "enable_flashinfer_autotune"),
        )
    ),
    FlagRule(
        "api_server_count",
        (),
        lambda v: v.api_server_count < 1,
        "must be at least 1: vLLM would serve nothing otherwise",
    ),
    FlagRule(
        "sse_keep_alive_interval",
        (),
        lambda v: v.sse_keep_alive_interval < 0,
        "must be at least 0, which switches it off",
    ),
)


def problems(values: Mapping[str, Any], unknown: Collection[str], env: Environment) -> Iterator[Problem]:
    """What vLLM would refuse of these values together.

    Args:
        values: parsed flags by name.
        unknown: flags with a value that is wrong by itself, and those that stand in vLLM's own configuration file or
            its extra arguments; no rule that goes by one of them is tried.
    """
    yield from broken_rules(_RULES, FlagValues(values, _DEFAULTS), env, unknown)
    template = values.get("chat_template")
    if template and "/" in template and not {*"{}\n"} & {*template} and not Path(template).exists():
        yield _problem("chat_template", f"there is no file {template}", env)
    for adapter in values.get("lora_modules") or ():
        if not _is_adapter(adapter):
            message = f'expected name=path, or JSON with "name" and "path", for each adapter; got {adapter!r}'
            yield _problem("lora_modules", message, env)


def adapter_problems(values: Mapping[str, Any], elsewhere: Collection[str], env: Environment) -> Iterator[Problem]:
    """What does not go together with adapters that are loaded when clients ask for them (LORA_DIR, LORA_SOURCES).

    Args:
        elsewhere: flags that stand in vLLM's own configuration file or its extra arguments.
    """
    if values.get("enable_lora") is False:
        yield _problem("enable_lora", "LORA_DIR and LORA_SOURCES need LoRA; remove ENABLE_LORA=false", env)
    if values.get("api_server_count", 1) > 1:
        message = "LORA_DIR and LORA_SOURCES need one API server: vLLM loads adapters only there; remove it"
        yield _problem("api_server_count", message, env)
    for flag in sorted(_OF_ADAPTERS & {*elsewhere}):
        message = "LORA_DIR and LORA_SOURCES go by it: set it as a variable, not in VLLM_EXTRA_ARGS or VLLM_CONFIG_FILE"
        yield _problem(flag, message, env)
    if env.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").strip().lower() in ("1", "true"):
        yield _problem(
            "vllm_allow_runtime_lora_updating",
            "lets clients load adapters, and with LORA_DIR or LORA_SOURCES the worker does that; set one of them",
            env,
        )


def _problem(flag: str, message: str, env: Environment) -> Problem:
    variable = flag.upper()
    return Problem(variable, message, env.source(variable) if variable in env else "")


def _is_adapter(text: str) -> bool:
    if "=" in text and "," not in text:
        return True
    try:
        adapter = json.loads(text)
    except ValueError:
        return False
    return isinstance(adapter, dict) and {"name", "path"} <= adapter.keys()
