"""Why a field may be accepted and not acted on: those of the core's own table, and what stands inside of others.

What the observer cannot see (an answer's reasoning, a prompt that is too long) names the test that proves it.
"""

from __future__ import annotations

from collections.abc import Mapping

import spec_fields

from engineroom.openai.no_effect import NO_EFFECT

_CACHE = NO_EFFECT["prompt_cache_key"]
_CASE = "it asks for what is the case anyway"
_STRICT = "a format is always kept to the letter"
_HISTORY = "it tells of how an earlier answer was made; the model is shown what was said"
_ACCOUNT = "it is for the accounts of the API's maker"
_CALLERS = "only the model calls tools here; a list without `direct` is refused"
_OUTPUTS = "it is for programs that call functions, and there are none here"
_PADDING = "it pads events against listeners who measure them; TLS is what hides them here"
_TEMPLATE = "the model's chat template decides which earlier thoughts it shows"

BY_PATH: Mapping[tuple[str, str], str] = {
    ("chat", "response_format[text]"): _CASE,
    ("chat", "response_format[json_schema].json_schema.description"): "a note; the schema decides",
    ("chat", "response_format[json_schema].json_schema.strict"): _STRICT,
    ("responses", "text.format[text]"): _CASE,
    ("responses", "text.format[json_schema].description"): "a note; the schema decides",
    ("responses", "text.format[json_schema].strict"): _STRICT,
    ("responses", "input[message].phase"): _HISTORY,
    ("responses", "input[message].status"): _HISTORY,
    ("responses", "input[message].content[output_text].logprobs"): _HISTORY,
    ("responses", "input[function_call].async"): _HISTORY,
    ("responses", "input[function_call].id"): _HISTORY,
    ("responses", "input[function_call].caller"): _HISTORY,
    ("responses", "input[function_call].namespace"): _HISTORY,
    ("responses", "input[function_call].status"): _HISTORY,
    ("responses", "input[function_call_output].id"): _HISTORY,
    ("responses", "input[function_call_output].caller"): _HISTORY,
    ("responses", "input[function_call_output].name"): _HISTORY,
    ("responses", "input[function_call_output].namespace"): _HISTORY,
    ("responses", "input[function_call_output].status"): _HISTORY,
    ("responses", "input[reasoning].status"): _HISTORY,
    ("responses", "max_tool_calls"): "it counts the calls of OpenAI's own tools, of which there are none here",
    ("responses", "metadata"): "a note, which the response gives back",
    ("responses", "prompt_cache_key"): _CACHE,
    ("responses", "prompt_cache_options"): _CACHE,
    ("responses", "prompt_cache_retention"): _CACHE,
    ("responses", "reasoning.context"): _TEMPLATE,
    ("responses", "reasoning.generate_summary"): "the reasoning itself is in the answer",
    ("responses", "reasoning.mode"): _CASE,
    ("responses", "reasoning.summary"): "the reasoning itself is in the answer",
    ("responses", "safety_identifier"): NO_EFFECT["safety_identifier"],
    ("responses", "service_tier"): NO_EFFECT["service_tier"],
    ("responses", "stream_options"): _PADDING,
    ("responses", "store"): "the answer is the same; whether it can be fetched later is as it says",
    ("responses", "tools[function].allowed_callers"): _CALLERS,
    ("responses", "tools[function].output_schema"): _OUTPUTS,
    ("responses", "tools[namespace].tools[function].allowed_callers"): _CALLERS,
    ("responses", "tools[namespace].tools[function].output_schema"): _OUTPUTS,
    ("responses", "user"): NO_EFFECT["user"],
    ("messages", "betas"): "a header's switches; what a beta adds has fields, and they stand here",
    ("messages", "context_management"): f"{_TEMPLATE}; edits other than those of thinking are refused",
    ("messages", "messages[user].content[tool_result].toolset_name"): _HISTORY,
    ("messages", "messages[assistant].content[tool_use].caller"): _HISTORY,
    ("messages", "messages[assistant].content[tool_use].toolset_name"): _HISTORY,
    ("messages", "metadata"): _ACCOUNT,
    ("messages", "service_tier"): _ACCOUNT,
    ("messages", "thinking[disabled]"): _CASE,
    ("messages", "tool_choice[auto]"): _CASE,
    ("messages", "tools[custom].allowed_callers"): _CALLERS,
    ("messages", "tools[custom].eager_input_streaming"): "arguments are always streamed as they are made",
    ("messages", "user_profile_id"): _ACCOUNT,
    ("messages", "workspace_id"): _ACCOUNT,
}
"""Surface and path -> why a field is accepted and changes nothing."""

BY_NAME: Mapping[str, str] = {
    "annotations": _HISTORY,
    "block_binding": "thoughts are bound to no conversation here, and none fails a check",
    "cache_control": _CACHE,
    "citations": _HISTORY,
    "detail": "a model has one way of looking at an image",
    "include_obfuscation": _PADDING,
    "prompt_cache_breakpoint": _CACHE,
    "transformations": f"{_CASE}; `error` is refused",
}
"""The same, by a name on the path, wherever it stands."""

PROVED_BY: Mapping[tuple[str, str], str] = {
    ("responses", "truncation"): "test_a_conversation_that_is_too_long_is_shortened_where_the_client_allows_it",
    ("messages", "thinking[enabled].display"): "test_thinking_that_was_not_asked_for_is_left_out",
    ("messages", "thinking[adaptive].display"): "test_thinking_that_was_not_asked_for_is_left_out",
}
"""Fields that are translated -> the test that shows it, as it takes more than one look at a request."""


def no_effect(field: spec_fields.SpecField) -> str | None:
    """Why a field is accepted without an effect; None for one that must have one."""
    names = field.names
    for name in names:
        if name in BY_NAME:
            return BY_NAME[name]
    of_core = field.surface in ("chat", "completions", "embeddings") and names[0] in NO_EFFECT
    return NO_EFFECT[names[0]] if of_core else BY_PATH.get((field.surface, field.path))
