"""Requests on their way to llama.cpp: refused where it would ignore what they ask, and put so that it can be stopped.

It notices that a client has gone only while it streams, so everything that generates is streamed from it, and put
together (`StreamedProxy`) for a client that wants it whole. That also gives true counts where `n` is more than one.
"""

from __future__ import annotations

from typing import Any

from engineroom.errors import APIError
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS, TEXT_ROUTES
from engineroom.openai.stop_strings import RETURN_STOP_REASON
from engineroom.openai.strict import checked, refuse

from . import forced

_IGNORED = {
    CHAT_COMPLETIONS: {"functions": "use `tools`", "audio": ""},
    COMPLETIONS: {"echo": "", "suffix": ""},
    EMBEDDINGS: {"dimensions": ""},
}
"""Fields that would change the answer and that llama.cpp passes over in silence -> what to do instead."""

_DEFAULT_COMPLETION = 16
"""Tokens of a completion whose request does not say, as OpenAI's API has it; llama.cpp's is without end."""


def prepare(path: str, json: dict[str, Any]) -> dict[str, Any]:
    """The request to send.

    Raises:
        APIError: 400, naming the field.
    """
    json = checked(path, json)
    refuse(json, _IGNORED.get(path, {}), "llama.cpp")
    if path == COMPLETIONS:
        json = _completion(json)
    elif path == CHAT_COMPLETIONS and json.get("logprobs"):
        # Zero would mean none at all, and none would mean twenty; the surplus one is taken away in the answer.
        json["top_logprobs"] = max(1, json.get("top_logprobs") or 0)
    return _streamed(_tools(json)) if path in TEXT_ROUTES else json


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
