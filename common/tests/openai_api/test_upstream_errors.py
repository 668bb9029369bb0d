"""A server's error bodies, read into OpenAI's."""

from __future__ import annotations

import json

import pytest

from engineroom.openai.upstream_errors import from_upstream


def test_pydantic_s_errors_are_read() -> None:
    head, tail = "1 validation error for CreateRequest\n", "For further information visit https://errors.pydantic.dev"
    unknown = f"{head}foo\n  Extra inputs are not permitted [type=extra_forbidden, input_value=3]\n    {tail}"
    error = from_upstream(400, json.dumps({"error": {"message": unknown, "code": "400", "param": ""}}).encode())
    assert (error.message, error.param, error.code) == ("Unrecognized request argument supplied: foo", "foo", None)
    wrong = f"{head}top_k\n  Input should be a valid integer [type=int_parsing, input_value='a']\n    {tail}"
    error = from_upstream(400, json.dumps({"error": {"message": wrong}}).encode())
    assert (error.message, error.param) == ("Input should be a valid integer: 'top_k'.", "top_k")


@pytest.mark.parametrize(
    ("status", "message", "param"),
    [
        (400, "n must be at least 1, got 0.", "n"),
        (400, "`top_logprobs` must be in [0, 7], was 20.", "top_logprobs"),
        (400, "frequency_penalty must be in [-2, 2], got 3.0.", "frequency_penalty"),
        (400, "value must be positive", None),
        (400, "The prompt must be a text", None),
        (500, "n must be at least 1", None),
    ],
)
def test_a_sentence_that_begins_with_its_field_names_it(status: int, message: str, param: str | None) -> None:
    assert from_upstream(status, json.dumps({"error": {"message": message}}).encode()).param == param
