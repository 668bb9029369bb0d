"""What FastDeploy's configuration refuses of flags that its parser lets through, as its sources state it.

Its parser can be asked (`tools/dump_flags.py`), its limits cannot: they are assertions in `FDConfig.check`,
`CacheConfig._verify_args` and `EngineArgs.__post_init__`. What stands here was read there (develop at 0009064e6), and
is checked for every version: FastDeploy ends at such an assertion after it has imported Paddle, without naming a flag.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from engineroom.errors import Problem
from engineroom.settings import Environment, Flag, FlagRule, FlagValues, broken_rules

_LIMITS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "data_parallel_size": {"ge": 1},
        "gpu_memory_utilization": {"gt": 0, "le": 1},
        "kv_cache_ratio": {"gt": 0, "le": 1},
        "max_long_partial_prefills": {"ge": 1},
        "max_model_len": {"ge": 16},
        "max_num_partial_prefills": {"ge": 1},
        "max_num_seqs": {"ge": 1, "le": 256},
        "tensor_parallel_size": {"ge": 1},
    }
)
"""FastDeploy itself states the upper end of the two shares, and fails later with none of the memory; the same goes for
sizes of 0."""

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "guided_decoding_backend": ("auto", "xgrammar", "guidance", "off"),
        "splitwise_role": ("mixed", "prefill", "decode"),
    }
)

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "block_size": 64,
        "max_long_partial_prefills": 1,
        "max_model_len": 2048,
        "max_num_partial_prefills": 1,
        "max_num_seqs": 8,
        "scheduler_name": "local",
    }
)
"""FastDeploy's own, of the flags that rules go by; the same in all versions."""

_RULES = (
    FlagRule(
        "max_num_batched_tokens",
        ("max_num_seqs",),
        lambda v: v.max_num_batched_tokens < v.max_num_seqs,
        "must be at least MAX_NUM_SEQS",
    ),
    FlagRule(
        "max_num_batched_tokens",
        ("max_num_seqs", "max_model_len"),
        lambda v: v.max_num_batched_tokens > v.max_num_seqs * v.max_model_len,
        "must be at most MAX_NUM_SEQS times MAX_MODEL_LEN",
    ),
    FlagRule(
        "max_num_batched_tokens",
        ("enable_chunked_prefill", "block_size"),
        lambda v: v.enable_chunked_prefill and v.max_num_batched_tokens < v.block_size,
        "must be at least BLOCK_SIZE where ENABLE_CHUNKED_PREFILL=true",
    ),
    FlagRule(
        "max_long_partial_prefills",
        ("max_num_partial_prefills",),
        lambda v: v.max_long_partial_prefills > v.max_num_partial_prefills,
        "must be at most MAX_NUM_PARTIAL_PREFILLS",
    ),
    FlagRule(
        "guided_decoding_backend",
        ("speculative_config",),
        lambda v: v.guided_decoding_backend != "off" and v.key("speculative_config", "method"),
        "cannot be combined with SPECULATIVE_CONFIG",
    ),
    FlagRule(
        "splitwise_role",
        ("router", "scheduler_name"),
        lambda v: v.splitwise_role != "mixed" and v.scheduler_name == "local" and not v.router,
        "needs ROUTER, the address of the router before the instances, or another SCHEDULER_NAME",
    ),
    FlagRule(
        "kvcache_storage_backend",
        ("enable_prefix_caching",),
        lambda v: v.enable_prefix_caching is False,
        "needs ENABLE_PREFIX_CACHING=true",
    ),
    FlagRule(
        "logprobs_mode",
        ("enable_logprob", "speculative_config"),
        lambda v: v.enable_logprob and v.speculative_config and v.logprobs_mode.startswith("processed"),
        "cannot be a processed one with SPECULATIVE_CONFIG",
    ),
)


def limited(flag: Flag) -> Flag:
    """The flag with what FastDeploy demands of its value; all of its JSON are objects."""
    facts: dict[str, Any] = dict(_LIMITS.get(flag.name, {}))
    if flag.name in _CHOICES:
        facts |= {"kind": "choice", "choices": _CHOICES[flag.name]}
    if flag.kind == "json":
        facts["shape"] = "object"
    return msgspec.structs.replace(flag, **facts)


def problems(values: Mapping[str, Any], wrong: Collection[str], env: Environment) -> Iterator[Problem]:
    """What FastDeploy would refuse of these values together.

    Args:
        values: parsed flags by name.
        wrong: flags whose values are wrong by themselves.
    """
    yield from broken_rules(_RULES, FlagValues(values, _DEFAULTS), env, wrong)
