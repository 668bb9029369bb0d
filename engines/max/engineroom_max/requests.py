"""Requests on their way to MAX: refused where it would ignore what they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from engineroom.openai.strict import GENERATION_FIELDS, checked, only_honoured, refuse, shown_messages
from engineroom.openai.validation import check, invalid

SAMPLING_PARAMS = frozenset(
    {
        "cache_salt",
        "chat_template_kwargs",
        "ignore_eos",
        "min_p",
        "min_tokens",
        "reasoning",
        "repetition_penalty",
        "return_token_ids",
        "stop_token_ids",
        "thinking_temperature",
        "top_k",
    }
)

_GENERATES = SAMPLING_PARAMS | GENERATION_FIELDS
_CHAT = {"max_completion_tokens", "messages", "reasoning_effort", "response_format", "tool_choice", "tools"}

HONOURED = {
    CHAT_COMPLETIONS: _GENERATES | _CHAT | {"top_logprobs"},
    COMPLETIONS: _GENERATES | {"prompt"},
    EMBEDDINGS: frozenset({"dimensions", "encoding_format", "input", "model"}),
}
"""The fields that MAX acts on. It takes the others of OpenAI's without a word, and refuses what it does not know."""

_MEMBERS = frozenset({"content", "reasoning_content", "role", "tool_call_id", "tool_calls"})
"""What a message's chat template gets of it from MAX, which drops all else (max/serve/router/openai_routes.py)."""

_FUNCTION = frozenset({"description", "name", "parameters", "strict"})
"""The same of a function. Whether `strict` or not, MAX holds a call that it has to make to the schema."""

_SEED = 2**62
"""In place of the seed 0, which MAX takes for none."""

_MANY_TOKENS = 30_000
"""As many as models have at least, where nobody knows how many this one has."""

_INSTEAD = {"best_of": "it goes by 'n'", "functions": "use 'tools'"}
_NEEDS = dict.fromkeys(("frequency_penalty", "presence_penalty", "repetition_penalty"), "enable_penalties")
_NEEDS |= {"min_tokens": "enable_min_tokens"}
"""Fields that MAX passes over in silence, or refuses, unless a flag of its own is set."""


class _OwnFields(msgspec.Struct):
    """What values MAX takes for its own fields; of others it says only "Value error."."""

    ignore_eos: bool | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None
    stop_token_ids: list[Annotated[int, msgspec.Meta(ge=0)]] | None = None
    thinking_temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=-1)] | None = None


def prepare(
    path: str, json: Mapping[str, Any], flags: Mapping[str, Any], vocabulary: int | None = None
) -> dict[str, Any]:
    """The request to send.

    Args:
        flags: MAX's that are set.
        vocabulary: tokens that the model has; None where nobody knows.

    Raises:
        APIError: 400, naming the field.
    """
    usual = {"response_format": {"type": "text"}, "best_of": json.get("n") or 1}
    json = {name: value for name, value in checked(path, json).items() if usual.get(name) != value}
    lacking = {name: f"set {flag.upper()}=true" for name, flag in _NEEDS.items() if not flags.get(flag)}
    refuse(json, lacking, "MAX")
    json = only_honoured(path, json, HONOURED, "MAX", _INSTEAD)
    check(json, _OwnFields)
    limit = json.get("max_completion_tokens", json.get("max_tokens"))
    if limit is not None and json.get("min_tokens", 0) > limit:
        raise invalid("'min_tokens' must not be more than 'max_tokens'.", "min_tokens", "invalid_value")
    if path == COMPLETIONS:
        _check_prompt(json.get("prompt"), vocabulary)
    elif path == CHAT_COMPLETIONS:
        json = {**json, "messages": shown_messages(json["messages"], _MEMBERS, "MAX")}
        _check_functions(json.get("tools") or ())
    json = _numbers(path, json, vocabulary)
    if effort := json.pop("reasoning_effort", None):
        # It is the chat template's, as with the other engines.
        json["chat_template_kwargs"] = {"reasoning_effort": effort, **json.get("chat_template_kwargs", {})}
    # It would generate to the end of the context; OpenAI's completions end after 16 tokens.
    return {"max_tokens": 16, **json} if path == COMPLETIONS else json


def _check_prompt(prompt: Any, vocabulary: int | None) -> None:
    """Refuse what MAX has no sentence for: no text at all, and tokens that the model has not, at which MAX ends."""
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if "" in prompts:
        raise invalid("Invalid 'prompt': MAX cannot begin with nothing; send some text.", "prompt", "invalid_value")
    tokens = [part for part in prompts if isinstance(part, int)]
    tokens += [token for part in prompts if isinstance(part, list) for token in part]
    if not tokens:
        return
    if vocabulary is None:
        message = "Invalid 'prompt': how many tokens this model has is not known here; send text."
        raise invalid(message, "prompt", "unsupported_value")
    if min(tokens) < 0 or max(tokens) >= vocabulary:
        raise invalid(f"Invalid 'prompt': token ids go from 0 to {vocabulary - 1}.", "prompt", "invalid_value")


def _check_functions(tools: Sequence[Mapping[str, Any]]) -> None:
    for number, tool in enumerate(tools):
        function = tool.get("function") or {}
        for name in function.keys() - _FUNCTION:
            where = f"tools.{number}.function.{name}"
            message = f"MAX does not support '{where}'; it is not shown to the model; leave it out."
            raise invalid(message, where, "unsupported_parameter")


def _numbers(path: str, json: dict[str, Any], vocabulary: int | None) -> dict[str, Any]:
    """Zeros that MAX takes for nothing: a seed is one like any other, and logprobs may come without alternatives.

    As many tokens as there are, or more, are all of them, which MAX calls -1: at a large `top_k` it exits.
    """
    json = {**json, "seed": _SEED} if json.get("seed") == 0 else json
    if json.get("top_k", 0) >= (vocabulary or _MANY_TOKENS):
        json = {**json, "top_k": -1}
    if path == COMPLETIONS and json.get("logprobs") == 0:
        return {**json, "logprobs": 1}
    if path == CHAT_COMPLETIONS and json.get("logprobs") and not json.get("top_logprobs"):
        return {**json, "top_logprobs": 1}
    return json
