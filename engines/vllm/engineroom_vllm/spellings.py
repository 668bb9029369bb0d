"""worker-vllm's names and ways to write a value, in vLLM's own terms.

Names are the engine's `aliases`; here is what a name alone does not say: a value written otherwise, or one that
means "not set".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from engineroom.environment import Environment

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
