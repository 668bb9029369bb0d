"""vLLM's error answers as OpenAI's: its types, and its validation errors without Python's spelling."""

from __future__ import annotations

import ast
import re

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import from_upstream

_VALIDATION = re.compile(r"^\d+ validation errors?:\s*(.*)", re.DOTALL)


def normalise(status: int, body: bytes) -> APIError:
    """The error for the client.

    vLLM names Python's exceptions as types (`BadRequestError`); OpenAI's follow from the status. A model that it
    does not have gets OpenAI's code, as one that is refused before vLLM is asked.
    """
    error = from_upstream(status, body)
    message, param = _readable(error.message)
    code = error.code
    if status == 404 and code is None and error.param == "model":
        code = "model_not_found"
    return APIError(message, status=status, param=error.param or param, code=code, retry_after=error.retry_after)


def _readable(message: str) -> tuple[str, str | None]:
    """A list of pydantic's errors, a dict's repr a line, as sentences, and the field that the first is about."""
    match = _VALIDATION.match(message)
    if match is None:
        return message, None
    told: list[tuple[str, str]] = []
    for line in match[1].splitlines():
        try:
            detail = ast.literal_eval(line.strip())
            told.append((str(detail["msg"]), str(detail["loc"]).removeprefix("body.").removeprefix("body")))
        except (ValueError, SyntaxError, KeyError, TypeError):
            told.append((line.strip(), ""))
    sentences = dict.fromkeys(f"{text}: {field}" if field else text for text, field in told if text)
    return "; ".join(sentences) or message, told[0][1] or None if told else None
