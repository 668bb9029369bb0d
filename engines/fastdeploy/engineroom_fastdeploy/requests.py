"""What a request becomes before FastDeploy sees it, and what it must not ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.errors import APIError
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, TEXT_ROUTES
from engineroom.openai.strict import GENERATION_FIELDS, only_honoured, shown_messages, without_empty_stops

SINCE = {
    "request_id": (2, 4),
    "prompt_logprobs": (2, 4),
    "include_logprobs_decode_token": (2, 4),
    "response_max_tokens": (2, 4),
    "reasoning_effort": (2, 5),
    "collect_metrics": (2, 5),
    "video_fps": (2, 6),
}
"""Request fields that older versions would silently ignore -> the first version that has them."""

SAMPLING_PARAMS = frozenset(SINCE) | {
    "bad_words",
    "bad_words_token_ids",
    "chat_template",
    "chat_template_kwargs",
    "completion_token_ids",
    "disable_chat_template",
    "guided_choice",
    "guided_decoding",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "include_draft_logprobs",
    "include_stop_str_in_output",
    "logits_processors_args",
    "max_streaming_response_tokens",
    "min_p",
    "min_tokens",
    "mm_hashes",
    "prompt_token_ids",
    "reasoning_max_tokens",
    "repetition_penalty",
    "return_token_ids",
    "stop_token_ids",
    "structural_tag",
    "temp_scaled_logprobs",
    "top_k",
    "top_p_normalized_logprobs",
}

_GENERATES = SAMPLING_PARAMS | GENERATION_FIELDS | {"guided_json_object", "response_format", "user"}

HONOURED = {
    CHAT_COMPLETIONS: _GENERATES | {"max_completion_tokens", "messages", "tool_choice", "tools", "top_logprobs"},
    COMPLETIONS: _GENERATES | {"echo", "prompt"},
    EMBEDDINGS: frozenset(
        {"add_special_tokens", "dimensions", "encoding_format", "input", "messages", "model", "user"}
    ),
}
"""The fields that FastDeploy acts on. It takes all others without a word, and reads even `metadata` as parameters."""

_MEMBERS = frozenset({"content", "name", "reasoning_content", "role", "tool_call_id", "tool_calls"})
"""What chat templates read of a message; FastDeploy hands them messages as they come."""

_INSTEAD = {
    "functions": "use 'tools'",
    "logit_bias": "send it as 'logits_processors_args', with LOGITS_PROCESSORS=LogitBiasLogitsProcessor",
    "parallel_tool_calls": "it leaves the number of calls to the model",
}


def prepare(path: str, json: Mapping[str, Any], model: str, version: tuple[int, int]) -> dict[str, Any]:
    """The request to send: always streamed where it generates, by the one model name that FastDeploy knows.

    Raises:
        APIError: 400 for what FastDeploy would ignore without a word.
    """
    request = {**only_honoured(path, dict(json), HONOURED, "FastDeploy", _INSTEAD), "model": model}
    if path not in TEXT_ROUTES:
        return request
    for name, since in SINCE.items():
        if request.get(name) is not None and version < since:
            raise _refused(name, f"needs FastDeploy {since[0]}.{since[1]}; {version[0]}.{version[1]} runs here")
    _check_types(request)
    request = without_empty_stops(request)
    if path == CHAT_COMPLETIONS and isinstance(request.get("messages"), list):
        request["messages"] = shown_messages(request["messages"], _MEMBERS, "FastDeploy")
    choice = request.pop("tool_choice", None)
    if choice == "none":
        request.pop("tools", None)
    elif choice not in (None, "auto"):
        raise _refused("tool_choice", "FastDeploy leaves the choice to the model: `auto` and `none` are possible")
    for kind, value in (request.pop("guided_decoding", None) or {}).items():
        request["structural_tag" if kind == "structural_tag" else f"guided_{kind}"] = value
    if request.pop("guided_json_object", None):
        request["response_format"] = {"type": "json_object"}
    # FastDeploy counts usage unasked as soon as there are stream options.
    asked = (json.get("stream_options") or {}) if json.get("stream") else {"include_usage": True}
    if not json.get("stream") or json.get("stream_options") is not None:
        request["stream_options"] = {**asked, "include_usage": bool(asked.get("include_usage"))}
    return {**request, "stream": True}


def _check_types(request: Mapping[str, Any]) -> None:
    """What is read here before FastDeploy checks it."""
    n = request.get("n")
    if n is not None and (type(n) is not int or n < 1):
        raise APIError("'n' must be a whole number, at least 1.", param="n", code="invalid_value")
    for name in ("stream_options", "guided_decoding"):
        if not isinstance(request.get(name) or {}, dict):
            raise APIError(f"'{name}' must be an object.", param=name, code="invalid_type")


def _refused(name: str, why: str) -> APIError:
    return APIError(f"'{name}' cannot be honoured: {why}.", param=name, code="unsupported_parameter")
