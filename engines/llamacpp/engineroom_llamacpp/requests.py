"""Requests on their way to llama.cpp: refused where it would ignore what they ask, and put so that it can be stopped.

It notices that a client has gone only while it streams, so everything that generates is streamed from it, and put
together (`StreamedProxy`) for a client that wants it whole. That also gives true counts where `n` is more than one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.errors import APIError
from engineroom.openai.limits import count_choices, exceeded
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, TEXT_ROUTES
from engineroom.openai.stop_strings import RETURN_STOP_REASON
from engineroom.openai.strict import GENERATION_FIELDS, checked, only_honoured, shown_messages
from engineroom.openai.validation import invalid

from . import forced
from .grammar import count_ways

SAMPLING_PARAMS = frozenset(
    {
        "adaptive_decay",
        "adaptive_target",
        "add_generation_prompt",
        "backend_sampling",
        "cache_prompt",
        "chat_template_kwargs",
        "continue_final_message",
        "dry_allowed_length",
        "dry_base",
        "dry_multiplier",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "dynatemp_exponent",
        "dynatemp_range",
        "grammar",
        "id_slot",
        "ignore_eos",
        "json_schema",
        "lora",
        "min_keep",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "n_cache_reuse",
        "n_discard",
        "n_indent",
        "n_keep",
        "n_predict",
        "n_probs",
        "post_sampling_probs",
        "reasoning_budget_tokens",
        "reasoning_control",
        "reasoning_format",
        "repeat_last_n",
        "repeat_penalty",
        "response_fields",
        "return_progress",
        "return_tokens",
        "samplers",
        "sse_ping_interval",
        "t_max_predict_ms",
        "thinking_budget_tokens",
        "timings_per_token",
        "top_k",
        "top_n_sigma",
        "typical_p",
        "verbose",
        "xtc_probability",
        "xtc_threshold",
    }
)
"""Its own fields, as the schema of its requests has them (tools/server/server-schema.cpp of llama.cpp)."""

TRANSLATED = frozenset({"repetition_penalty"})
"""Fields of other engines that it gets in its own words."""

_GENERATES = SAMPLING_PARAMS | GENERATION_FIELDS | {"logit_bias"}
_OF_TEMPLATES = {"add_generation_prompt", "chat_template_kwargs", "continue_final_message", "thinking_budget_tokens"}
_CHAT = {
    "max_completion_tokens",
    "messages",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "tool_choice",
    "tools",
    "top_logprobs",
}

HONOURED = {
    CHAT_COMPLETIONS: _GENERATES | _CHAT,
    COMPLETIONS: (_GENERATES - _OF_TEMPLATES) | {"best_of", "prompt"},
    EMBEDDINGS: frozenset({"embd_normalize", "encoding_format", "input", "model"}),
}
"""The fields that llama.cpp acts on. It passes over all others in silence, so they are refused, or left out."""

_MEMBERS = frozenset({"content", "name", "reasoning_content", "role", "tool_call_id", "tool_calls"})
"""What llama.cpp reads of a message (common/chat.cpp)."""

_PENALISED_TOKENS = 32_768
"""As far as a penalty that is over all tokens looks back; llama.cpp keeps memory for so many."""

_LONGEST_LOOK_BACK = 1_000_000
"""The most that a request may ask for of that: for 2^31 tokens llama.cpp takes 9 GB, or is killed for it."""

_LOOKS_BACK = ("repeat_last_n", "dry_penalty_last_n")

_OF_LLGUIDANCE = "%llguidance"
"""How a grammar begins that llama.cpp hands to that library, with schemas and regular expressions in it."""

_INSTEAD = {"functions": "use 'tools'"}

LIMITS = {
    "MAX_CHOICES": "8",
    "MAX_GRAMMAR_KB": "16",
    "MAX_MESSAGES": "2048",
    "MAX_PROMPT_CHARACTERS": "1000000",
    "MAX_STOP_STRINGS": "16",
    "MAX_WAYS": "256",
}
"""Lower defaults than other engines': one thread serves everybody, and has to be back within moments. Half of the slots
that there are by default stay free for others. Its template takes a minute for 10,000 messages; 2,048 is how many texts
OpenAI's API embeds at once."""

_MAX_DRY_BREAKERS = 8
"""Each is looked for in the whole vocabulary before a choice begins, which takes up to 0.2 s."""

_OWN_DRY_BREAKERS = 2
"""llama.cpp's own four, which a request that names none gets, are single characters and take no longer than two."""

_DEFAULT_COMPLETION = 16
"""Tokens of a completion whose request does not say, as OpenAI's API has it; llama.cpp's is without end."""


def prepare(path: str, json: dict[str, Any], max_ways: float = 0) -> dict[str, Any]:
    """The request to send.

    Args:
        max_ways: that an answer by a grammar can be on at one time (MAX_WAYS); 0 for any number.

    Raises:
        APIError: 400, naming the field.
    """
    _check_limits(path, json, max_ways)
    json = _penalised(checked(path, json))
    json = only_honoured(path, json, HONOURED, "llama.cpp", _INSTEAD)
    if path == COMPLETIONS:
        json = _completion(json)
    elif path == CHAT_COMPLETIONS:
        json = {**json, "messages": shown_messages(json["messages"], _MEMBERS, "llama.cpp")}
        if json.get("logprobs"):
            # Zero would mean none at all, and none would mean twenty; the surplus one is taken away in the answer.
            json["top_logprobs"] = max(1, json.get("top_logprobs") or 0)
    return _streamed(_tools(json)) if path in TEXT_ROUTES else json


def _check_limits(path: str, json: Mapping[str, Any], max_ways: float) -> None:
    """Refuse what the core cannot count. Each choice has a grammar and samplers of its own, in the thread of all."""
    choices, _ = count_choices(path, json)
    if max_ways and isinstance(json.get("grammar"), str):
        if json["grammar"].startswith(_OF_LLGUIDANCE):
            raise APIError(
                "Invalid 'grammar': nobody can tell beforehand what a grammar of llguidance's costs; write it in GBNF, "
                "or as a schema. Whoever runs this server can allow it with MAX_WAYS=0.",
                param="grammar",
                code="request_limit_exceeded",
            )
        ways = count_ways(json["grammar"]) * choices
        if ways > max_ways:
            raise exceeded("MAX_WAYS", max_ways, ways, "grammar", "ways to go on at one place of a grammar")
    tools = json.get("tools")
    if max_ways and isinstance(tools, list) and len(tools) * choices > max_ways:
        what = f"tools times choices ({choices})"
        raise exceeded("MAX_WAYS", max_ways, len(tools) * choices, "tools", what)
    for name in _LOOKS_BACK:
        tokens = json.get(name)
        if isinstance(tokens, (int, float)) and tokens > _LONGEST_LOOK_BACK:
            raise APIError(
                f"Invalid '{name}': at most {_LONGEST_LOOK_BACK} tokens are looked back at here, but got {tokens}; "
                "-1 is all of the context.",
                param=name,
                code="request_limit_exceeded",
            )
    if max_ways and json.get("dry_multiplier"):
        breakers = json.get("dry_sequence_breakers")
        looked_up = (len(breakers) if isinstance(breakers, list) else _OWN_DRY_BREAKERS) * choices
        if looked_up > _MAX_DRY_BREAKERS:
            raise APIError(
                f"Invalid 'dry_multiplier': at most {_MAX_DRY_BREAKERS} sequence breakers are allowed here, for all "
                f"choices together, but got {looked_up}; give fewer 'dry_sequence_breakers', or ask for fewer choices.",
                param="dry_multiplier",
                code="request_limit_exceeded",
            )


def _penalised(json: dict[str, Any]) -> dict[str, Any]:
    """The `repetition_penalty` of other engines, which is over all tokens so far, in llama.cpp's words."""
    if "repetition_penalty" not in json:
        return json
    penalty = json["repetition_penalty"]
    if isinstance(penalty, (int, float)) and penalty <= 0:
        message = f"Invalid 'repetition_penalty': expected a value > 0, but got {penalty} instead."
        raise invalid(message, "repetition_penalty", "decimal_below_min_value")
    rest = {name: value for name, value in json.items() if name != "repetition_penalty"}
    return {"repeat_penalty": json["repetition_penalty"], "repeat_last_n": _PENALISED_TOKENS, **rest}


def _completion(json: dict[str, Any]) -> dict[str, Any]:
    if (json.get("best_of") or 1) > (json.get("n") or 1):
        raise APIError("llama.cpp does not support 'best_of' above 'n'.", param="best_of", code="unsupported_parameter")
    limit = {} if "n_predict" in json else {"max_tokens": json.get("max_tokens", _DEFAULT_COMPLETION)}
    logprobs = {"logprobs": max(1, json["logprobs"])} if "logprobs" in json else {}
    return {**json, **limit, **logprobs}


def _tools(json: dict[str, Any]) -> dict[str, Any]:
    choice = json.get("tool_choice")
    if not json.get("tools") or choice == "none":
        return {name: value for name, value in json.items() if name not in ("tools", "tool_choice")}
    return forced.prepare(json) if forced.is_forced(choice) else json


def _streamed(json: dict[str, Any]) -> dict[str, Any]:
    if "stream_options" in json and not json.get("stream"):
        raise APIError("'stream_options' is only allowed when 'stream' is enabled.", param="stream_options")
    options = {"include_usage": True} if not json.get("stream") or forced.is_prepared(json) else {}
    json["stream_options"] = {**json.get("stream_options", {}), **options}
    if json.pop(RETURN_STOP_REASON, False):
        # It says so only among its inner workings, of which nothing else is asked for.
        json |= {"verbose": True, "response_fields": ["stopping_word"]}
    return {**json, "stream": True}
