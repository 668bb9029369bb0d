"""Errors that a server tells with a 200, as RunPod's queue endpoints must: there a worker cannot choose the status."""

from __future__ import annotations

from typing import Any

import msgspec

from engineroom.openai.sse import payloads
from engineroom.server.proxy import decode_object

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
_CODES = {"model_not_found": 404, "rate_limit_exceeded": 429, "engine_loading": 503, "engine_dead": 503}
_LONGEST = 65536


def told_status(body: bytes) -> int | None:
    """The status that an answer would have had; None where it is none of an error.

    Known are `{"error": {…}}` and vLLM's flat `{"object": "error", …}`.
    """
    if len(body) > _LONGEST or b"error" not in body:
        return None
    answer = decode_object(body)
    if answer is None or answer.get("choices") or answer.get("data"):
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


def told_in_stream(first: bytes) -> bytes | None:
    """The error with which a stream begins; None where it begins well."""
    if b"error" not in first[:200]:
        return None
    event = next(iter(payloads(first)), b"")
    try:
        msgspec.json.decode(event)
    except msgspec.DecodeError:
        return None  # Not whole yet, so it is no short one.
    return event
