"""Requests made from OpenAI's specification, right ones and wrong ones, over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import negative_data_rejection, not_a_server_error

from .conftest import MODELS
from .held import CONFORMANCE, schema
from .spec import ROUTES, openai_spec, property_names, request_fields

KNOWN = {path: request_fields(openai_spec(*MODELS), path) for path in ROUTES}
"""Route -> its fields. Others have no meaning, and a test of its own shows that they are refused."""

NAMED = frozenset(property_names(openai_spec(*MODELS)))
"""Every name in the document."""
FREE = frozenset({"logit_bias", "metadata", "parameters", "schema"})
"""Objects in which a client may write what it likes."""

REFUSED = {
    ("context_length_exceeded", "messages"): "more than the engine of this test takes",
    ("request_limit_exceeded", "n"): "times the number of prompts it is more than MAX_CHOICES",
    ("request_limit_exceeded", "best_of"): "times the number of prompts it is more than MAX_CHOICES",
    ("unknown_parameter", "messages"): "a member of a message that the specification does not name",
    ("unsupported_content_type", "messages"): "images, audio and files: the engine is one of text",
    ("unsupported_value", "tools"): "custom tools",
    ("unsupported_value", "tool_choice"): "custom tools",
    ("unsupported_value", "modalities"): "audio",
    ("unsupported_value", "audio"): "audio",
    ("unsupported_value", "messages"): "an assistant's audio",
    ("unsupported_value", "best_of"): "above n it would have to generate more than it answers",
    ("unsupported_value", "echo"): "with logprobs, or of token ids",
    ("unsupported_parameter", "web_search_options"): "there is no search",
    ("unsupported_schema", "response_format"): "the echo engine makes instances of simple schemas only",
    ("unsupported_schema", "tools"): "the echo engine makes instances of simple schemas only",
    ("unsupported_schema", "functions"): "the echo engine makes instances of simple schemas only",
    ("invalid_type", "messages"): "an assistant's message that says nothing: OpenAI refuses it too",
    ("invalid_value", "best_of"): "below n: the document says so in words",
    ("invalid_value", "response_format"): "a schema's name: its alphabet is in words in the document",
    ("invalid_value", "functions"): "a function's name: its alphabet is in words in the document",
    ("invalid_value", "tools"): "a function's name: its alphabet is in words in the document",
    ("invalid_value", "input"): "empty: the document says so in words",
    ("invalid_value", "prompt"): "token ids that the vocabulary does not have",
    ("array_below_min_length", "prompt"): "no prompt at all",
    ("integer_below_min_value", "max_tokens"): "the document has no minimum; OpenAI's API has",
    ("integer_below_min_value", "max_completion_tokens"): "the document has no minimum; OpenAI's API has",
    ("object_above_max_length", "metadata"): "16 pairs: the document says so in words",
    ("integer_above_max_value", "seed"): "the document's bounds are those of 64 bits, rounded",
    ("integer_below_min_value", "seed"): "the document's bounds are those of 64 bits, rounded",
    (None, "tool_choice"): "without tools",
    ("invalid_value", "tool_choice"): "a tool that is not among the tools",
    ("invalid_value", "function_call"): "a function that is not among the functions",
    (None, "top_logprobs"): "without logprobs: the document says so in words",
    ("decimal_above_max_value", "logit_bias"): "-100 to 100: the document says so in words",
    ("decimal_below_min_value", "logit_bias"): "-100 to 100: the document says so in words",
}
"""Why a request that the document allows is refused, by the error's code and its field."""


def accepted_or_refused_for_a_reason(
    context: Any, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """What the document allows is served, or refused for one of the reasons above."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code == 200:
        return
    error = json.loads(response.content)["error"]
    reason = (error["code"], error["param"] and error["param"].split(".")[0])
    assert response.status_code == 400, error
    assert reason in REFUSED, error


def without_what_hides_the_rest(path: str, body: Any) -> Any:
    """The body without fields whose refusal would leave nothing else tested, and without those that have no meaning.

    The refusals have tests of their own in common/tests/openai_api and tests/test_field_matrix.py.
    """
    if not isinstance(body, dict):
        return body
    hiding = {"suffix", "dimensions", *(() if body.get("stream") else ("stream_options",))}
    kept = {name: value for name, value in body.items() if name in KNOWN[path] and name not in hiding}
    return {name: value if name in FREE else only_named(value) for name, value in kept.items()}


def only_named(value: Any) -> Any:
    """A value without members that the document does not name: they have no meaning, and parts refuse them."""
    if isinstance(value, list):
        return [only_named(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {name: inner if name in FREE else only_named(inner) for name, inner in value.items() if name in NAMED}


@schema.parametrize()
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
)
@pytest.mark.timeout(300)
def test_the_specification_holds(case: schemathesis.Case[Any], url: str) -> None:
    if case.meta is not None and case.meta.generation.mode.is_positive:
        case.body = without_what_hides_the_rest(case.operation.path, case.body)
    response = case.call(base_url=url, timeout=30)
    case.validate_response(
        response,
        checks=[*CONFORMANCE, not_a_server_error, negative_data_rejection, accepted_or_refused_for_a_reason],
    )
