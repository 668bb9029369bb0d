"""Errors that a server sends with a 200, as RunPod's queue endpoints must: there a worker cannot choose the status."""

from __future__ import annotations

from typing import Any

import msgspec

from engineroom.openai.sse import payloads

_STATUSES = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "NotFoundError": 404,
    "rate_limit_error": 429,
    "server_error": 500,
    "api_error": 500,
    "InternalServerError": 500,
    "overloaded_error": 503,
}
"""The status that each type of error has elsewhere: OpenAI's types, Anthropic's and vLLM's."""

_CODES = {"model_not_found": 404, "rate_limit_exceeded": 429, "engine_loading": 503, "engine_dead": 503}
"""Codes that say more than the type beside them."""

_LONGEST = 65536
"""Bytes; a longer body is an answer, and is not decoded to find out."""


def error_status(body: bytes) -> int | None:
    """The status with which a body should have been sent; None for one that is no error.

    Both `{"error": {…}}` and vLLM's flat `{"object": "error", …}` are known.
    """
    if len(body) > _LONGEST or b"error" not in body:
        return None
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    # An answer may have an empty or a null `error` beside its choices.
    if not isinstance(answer, dict) or answer.get("choices") or answer.get("data"):
        return None
    error: Any = answer if answer.get("object") == "error" else answer.get("error")
    if isinstance(error, str) and error:
        return 500
    if not isinstance(error, dict) or not error:
        return None
    code = error.get("code")
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    return _CODES.get(str(code)) or _STATUSES.get(str(error.get("type"))) or 400


def begins_well(events: bytes) -> bool:
    """Whether a stream's first event, as far as it is whole, is JSON."""
    whole, end, _ = events.replace(b"\r\n", b"\n").partition(b"\n\n")
    event = next(iter(payloads(whole + end)), b"[DONE]") if end else b"[DONE]"
    if event == b"[DONE]":
        return True
    try:
        msgspec.json.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def first_error(events: bytes) -> bytes | None:
    """The body of the error with which a stream of events begins; None where it begins well."""
    if b"error" not in events[:200]:
        return None
    event = next(iter(payloads(events)), b"")
    try:
        msgspec.json.decode(event)
    except msgspec.DecodeError:
        return None  # The event is not whole yet, so it is longer than any error.
    return event
