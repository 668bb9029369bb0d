"""What vLLM's server offers clients: which of its routes pass, and what is put right on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engineroom.engine import MODELS, Route
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES
from engineroom.openai.strict import only_honoured, shown_messages, without_empty_stops

_PATHS = frozenset(
    {
        "/classify",
        "/cohere/v2/chat",
        "/detokenize",
        "/generative_scoring",
        "/pooling",
        "/rerank",
        "/score",
        "/tokenize",
        "/version",
    }
)
_PREFIXES = ("/v1/", "/v2/")
"""What clients may call. The rest of vLLM's routes steer the engine (`/sleep`, `/pause`, …) or are the door's own."""

GENERATING = MODELS | frozenset(
    {
        Route("POST", "/detokenize"),
        Route("POST", "/tokenize"),
        Route("POST", CHAT_COMPLETIONS),
        Route("POST", COMPLETIONS),
    }
)
"""What is assumed before vLLM has been asked: a model that generates text."""

_MADE_OF_CHAT = (MESSAGES, RESPONSES)
"""What the core makes of vLLM's chat. vLLM's own breaks promises of the conformance kit: 0.32 names no stop sequence,
keeps no response to go on from, takes no structured outputs with a message, and names no field that is wrong."""

_GUIDED = {
    "guided_choice": "choice",
    "guided_grammar": "grammar",
    "guided_json": "json",
    "guided_json_object": "json_object",
    "guided_regex": "regex",
    "guided_whitespace_pattern": "whitespace_pattern",
}
"""vLLM's old fields -> fields of `structured_outputs`. It ignores the old ones without a word since 0.12."""

_MEMBERS = frozenset(
    {
        *("content", "name", "reasoning", "reasoning_content", "role", "task", "tool_call_id", "tool_calls", "tools"),
        *("author", "channel", "content_type", "recipient"),
    }
)
"""What vLLM reads of a message (renderers/chat_utils.py), and of one in the form of gpt-oss."""

_TAKEN = _GUIDED.keys() | {"guided_decoding_backend"}
"""Fields that it does not declare, and gets in another form; which backend does it is a flag of its own by now."""

SAMPLING_PARAMS = frozenset(_GUIDED) | {
    "add_generation_prompt",
    "add_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "documents",
    "echo",
    "ignore_eos",
    "include_reasoning",
    "include_stop_str_in_output",
    "length_penalty",
    "logprob_token_ids",
    "media_io_kwargs",
    "min_p",
    "min_tokens",
    "mm_processor_kwargs",
    "priority",
    "prompt_embeds",
    "prompt_logprobs",
    "repetition_detection",
    "repetition_penalty",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "session_id",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "stream_interval",
    "structured_outputs",
    "thinking_token_budget",
    "top_k",
    "truncate_prompt_tokens",
    "truncation_side",
    "use_beam_search",
    "vllm_xargs",
}
"""The request fields of 0.32 beyond OpenAI's that clients send, and the older ones that are sent on as those."""


LOAD_ADAPTER = "/v1/load_lora_adapter"
UNLOAD_ADAPTER = "/v1/unload_lora_adapter"
SLEEP_PATHS = ("/sleep?level=1", "/wake_up")
"""Level 1 moves the weights into the machine's memory and drops the cache. After level 2 they would have to be read
from their files again."""


def routes_of(openapi: Mapping[str, Any], *, own_adapters: bool = False) -> frozenset[Route]:
    """The routes in vLLM's own description of itself, which follows the tasks that the model has.

    Args:
        own_adapters: whether the worker loads adapters itself, and clients may not.
    """
    routes = set(MODELS)
    for path, methods in openapi.get("paths", {}).items():
        if path.startswith(_MADE_OF_CHAT) or (own_adapters and path in (LOAD_ADAPTER, UNLOAD_ADAPTER)):
            continue
        if path in _PATHS or path.startswith(_PREFIXES):
            # A parameter in a path (`/v1/files/{id}`) stands for all that may follow.
            literal, parameter, _ = path.partition("{")
            routes |= {Route(method.upper(), f"{literal}*" if parameter else literal) for method in methods}
    return frozenset(routes)


def fields_of(openapi: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Path -> the fields that vLLM's description of itself declares for the request; it ignores all others."""
    schemas = openapi.get("components", {}).get("schemas", {})
    honoured = {}
    for path in (CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS):
        body = openapi.get("paths", {}).get(path, {}).get("post", {}).get("requestBody", {})
        fields = set(_properties(body.get("content", {}).get("application/json", {}).get("schema", {}), schemas))
        if fields:
            honoured[path] = frozenset(fields) | _TAKEN
    return honoured


def _properties(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> set[str]:
    if reference := schema.get("$ref"):
        return _properties(schemas.get(reference.rpartition("/")[2], {}), schemas)
    alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    return set(schema.get("properties", ())).union(*(_properties(each, schemas) for each in alternatives))


def pinned_fields() -> dict[str, frozenset[str]]:
    """The same for a server that has not been asked: as tools/dump_request_fields.py read it out of vLLM 0.32."""
    recorded = msgspec.json.decode(Path(__file__).with_name("request_fields.json").read_bytes())
    return {path: frozenset(fields) | _TAKEN for path, fields in recorded.items()}


def prepare(path: str, json: dict[str, Any], honoured: Mapping[str, frozenset[str]]) -> dict[str, Any] | None:
    """The request to send; None where it is as it came.

    Raises:
        APIError: 400, naming a field that vLLM would ignore.
    """
    kept = only_honoured(path, json, honoured, "vLLM", {"functions": "use 'tools'"})
    messages = kept.get("messages")
    if path == CHAT_COMPLETIONS and isinstance(messages, list) and not _all_shown(messages):
        kept = {**kept, "messages": shown_messages(messages, _MEMBERS, "vLLM")}
    kept = without_empty_stops(kept)
    changed = with_structured_outputs(kept)
    return kept if changed is None and kept is not json else changed


def _all_shown(messages: Sequence[Any]) -> bool:
    """Whether there is nothing in the messages that vLLM, or the templates that it renders, would pass over."""
    return all(
        isinstance(message, dict)
        and message.keys() <= _MEMBERS
        and message.get("role") != "function"
        and not message.get("tool_calls")
        for message in messages
    )


def with_structured_outputs(body: dict[str, Any]) -> dict[str, Any] | None:
    """The request with worker-vllm's `guided_…` fields as vLLM has them now; None where it has none of them."""
    guided = {new: body[old] for old, new in _GUIDED.items() if body.get(old) not in (None, False)}
    if not guided:
        return None
    rest = {name: value for name, value in body.items() if not name.startswith("guided_")}
    return {**rest, "structured_outputs": {**guided, **(body.get("structured_outputs") or {})}}
