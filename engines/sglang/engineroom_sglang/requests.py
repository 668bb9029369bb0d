"""What a request becomes before SGLang sees it, and what it must not ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, TEXT_ROUTES
from engineroom.openai.strict import SCHEMAS, checked, only_honoured, shown_messages, without_empty_stops
from engineroom.openai.validation import invalid

_DECLARED: Mapping[str, frozenset[str]] = msgspec.json.decode(
    Path(__file__).with_name("request_fields.json").read_bytes(), type=dict[str, frozenset[str]]
)
"""Path -> the fields of SGLang's own request models; `tools/dump_request_fields.py` asks them."""

_NOT_CLIENTS = frozenset(
    {
        *("bootstrap_host", "bootstrap_port", "bootstrap_room", "data_parallel_rank", "disagg_prefill_dp_rank"),
        *("kv_hints", "routed_dp_rank", "routing_key", "rid", "lora_path", "best_of"),
    }
)
"""What is its own router's, what the worker says itself, and `best_of`, on which it does not act."""

_FLAGS = {
    "custom_logit_processor": "enable_custom_logit_processor",
    "priority": "enable_priority_scheduling",
    "seed": "enable_deterministic_inference",
    "suffix": "completion_template",
}
"""Fields that SGLang takes without a word and does not act on, unless a flag of its own is set."""

_INSTEAD = {
    "functions": "use 'tools'",
    "lora_path": "name the adapter as the 'model'",
    "best_of": "use 'n', and choose",
    **{field: f"set {flag.upper()}" for field, flag in _FLAGS.items()},
}

SAMPLING_PARAMS = (
    (_DECLARED[CHAT_COMPLETIONS] | _DECLARED[COMPLETIONS])
    - _NOT_CLIENTS
    - {*SCHEMAS[CHAT_COMPLETIONS].__struct_fields__, *SCHEMAS[COMPLETIONS].__struct_fields__}
)
"""Its fields beyond OpenAI's."""

_MEMBERS = frozenset({"content", "reasoning_content", "role", "tool_call_id", "tool_calls", "tools"})
"""What SGLang hands to the chat template of any message; a user's `name` it drops."""


def honoured(flags: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Path -> the fields that SGLang acts on with these flags; it takes all others without a word."""
    lacking = _NOT_CLIENTS | {field for field, flag in _FLAGS.items() if not flags.get(flag)}
    return {path: (fields | {"model"}) - lacking for path, fields in _DECLARED.items()}


def prepare(
    path: str, json: dict[str, Any], fields: Mapping[str, Collection[str]], model: str, adapter: str | None
) -> dict[str, Any]:
    """The request to send, by the one model name that SGLang knows.

    Args:
        fields: path -> those that SGLang acts on.
        adapter: the LoRA adapter that it is for, by its name.

    Raises:
        APIError: 400 for what SGLang would ignore without a word.
    """
    if path in TEXT_ROUTES:
        json = checked(path, json)  # SGLang takes -1 choices, or more logprobs than OpenAI has.
    request = without_empty_stops({**only_honoured(path, json, fields, "SGLang", _INSTEAD), "model": model})
    if path == COMPLETIONS and request.get("echo") and request.get("logprobs") is not None:
        raise invalid("SGLang gives no 'logprobs' together with 'echo'.", "logprobs", "unsupported_value")
    if path == CHAT_COMPLETIONS and isinstance(request.get("messages"), list):
        request["messages"] = shown_messages(request["messages"], _MEMBERS, "SGLang")
    if adapter is not None:
        request["lora_path"] = adapter
    return request


def as_rerank(body: bytes, model: str) -> bytes:
    """SGLang's list of scores in the form that clients of `/v1/rerank` know."""
    scored = msgspec.json.decode(body)
    if not isinstance(scored, list):
        return body
    results = []
    for item in scored:
        result = {"index": item["index"], "relevance_score": item["score"]}
        if item.get("document") is not None:
            result["document"] = {"text": item["document"]}
        results.append(result)
    return msgspec.json.encode({"model": model, "results": results})
