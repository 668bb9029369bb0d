"""FastDeploy's error bodies, as recorded, read as OpenAI's."""

from __future__ import annotations

import msgspec
import pytest

from engineroom_fastdeploy.errors import normalise


def error(message: str, type: str, code: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, error("Unsupported model: [x]", "internal_error", "model_not_support"), (404, "model_not_found")),
        (500, error("min_p out of range", "invalid_request", "400"), (400, "400")),
        (200, error("OpenAIServingCompletion waiting error: ", "timeout_error", "timeout"), (408, "timeout")),
        (500, error("'NoneType' object has no attribute 'get'", "internal_error"), (500, None)),
        (400, error("Field required", "invalid_request_error", "missing_required_parameter"), (400, None)),
        (401, {"error": "Unauthorized"}, (401, None)),
        (429, {"detail": "Too many requests,current max concurrency is 512"}, (429, None)),
        (500, b"Internal Server Error", (500, None)),
        (500, b"", (500, None)),
    ],
)
def test_status_and_code(status: int, body: object, expected: tuple[int, str | None]) -> None:
    found = normalise(status, body if isinstance(body, bytes) else msgspec.json.encode(body))
    assert found.status == expected[0]
    assert expected[1] is None or found.code == expected[1]
    assert found.message


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("request[chatcmpl-a_b] generator error: bad stop, Traceback (most recent call last):\n File x", "bad stop"),
        ("request[cmpl-1]full generator error: x is y, Traceback (most recent call last):\n", "x is y"),
        ("OpenAIServingCompletion format error: stop is too long", "stop is too long"),
        ("no file /root/models/ernie/vocab.txt here", "no file vocab.txt here"),
        ("see https://example.org/a/b for org/name and 1/2", "see https://example.org/a/b for org/name and 1/2"),
    ],
)
def test_what_is_left_of_a_message(said: str, told: str) -> None:
    assert normalise(500, msgspec.json.encode(error(said, "invalid_request_error"))).message == told


def test_a_reason_that_comes_with_its_field_names_it() -> None:
    """How Python writes an error that was given both, which is how FastDeploy refuses logprobs."""
    found = normalise(
        500, msgspec.json.encode(error(str(("top_logprobs", "21 is too many.")), "invalid_request_error"))
    )
    assert (found.status, found.param, found.message) == (400, "top_logprobs", "21 is too many.")
