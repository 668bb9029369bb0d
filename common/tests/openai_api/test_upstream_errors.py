"""A server's error bodies, read into OpenAI's."""

from __future__ import annotations

import json

from engineroom.openai.upstream_errors import from_upstream


def test_pydantic_s_errors_are_read() -> None:
    head, tail = "1 validation error for CreateRequest\n", "For further information visit https://errors.pydantic.dev"
    unknown = f"{head}foo\n  Extra inputs are not permitted [type=extra_forbidden, input_value=3]\n    {tail}"
    error = from_upstream(400, json.dumps({"error": {"message": unknown, "code": "400", "param": ""}}).encode())
    assert (error.message, error.param, error.code) == ("Unrecognized request argument supplied: foo", "foo", None)
    wrong = f"{head}top_k\n  Input should be a valid integer [type=int_parsing, input_value='a']\n    {tail}"
    error = from_upstream(400, json.dumps({"error": {"message": wrong}}).encode())
    assert (error.message, error.param) == ("Input should be a valid integer: 'top_k'.", "top_k")
