"""Requests on their way to MAX: refused where it would ignore what they ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.openai.routes import COMPLETIONS
from engineroom.openai.strict import checked, refuse

_IGNORED = ("audio", "echo", "function_call", "functions", "logit_bias", "prediction", "suffix", "web_search_options")
_NEEDS = dict.fromkeys(("frequency_penalty", "presence_penalty", "repetition_penalty"), "enable_penalties")
_NEEDS |= {"min_tokens": "enable_min_tokens"}
"""Fields that MAX passes over in silence, or refuses, unless a flag of its own is set."""


def prepare(path: str, json: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The request to send; `flags` are MAX's that are set. Raises APIError, naming the field."""
    usual = {"response_format": {"type": "text"}, "best_of": json.get("n") or 1}
    json = {name: value for name, value in checked(path, json).items() if usual.get(name) != value}
    lacking = {name: f"set {flag.upper()}=true" for name, flag in _NEEDS.items() if not flags.get(flag)}
    refuse(json, {**dict.fromkeys(_IGNORED, ""), "best_of": "it goes by `n`", **lacking}, "MAX")
    # It would generate to the end of the context; OpenAI's completions end after 16 tokens.
    return {"max_tokens": 16, **json} if path == COMPLETIONS else json
