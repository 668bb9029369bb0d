"""Engines' error answers, in their several shapes, as one: OpenAI's; and when a server wants to be asked again."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from ..errors import APIError

_TRACEBACK = re.compile(r"[\s,]*Traceback \(most recent call last\).*", re.DOTALL)
_TOO_LONG = re.compile(
    r"maximum (?:context|model) length|exceeds? the (?:available )?context|context[_ ](?:size|length)[_ ]exceed|"
    r"exceed_context_size|longer than the maximum model length",
    re.IGNORECASE,
)

_VALIDATION = re.compile(
    r"^\d+ validation errors? for \w+\n(?P<field>\S+)\n\s+(?P<says>.*?) \[type=(?P<type>\w+)", re.DOTALL
)
"""A pydantic ValidationError as text: `1 validation error for Request`, the field, what is wrong with it."""


_ABOUT = re.compile(r"^[`'\"]?(?!(?:it|that|there|they|this|value) )(?P<field>[a-z]+(?:_[a-z]+)*)[`'\"]? must be ")
"""How many sentences begin that name a field: `n must be at least 1`."""

_LONGEST_S = 1e9
"""Seconds; a `Retry-After` of more, perhaps of more digits than a number can have, counts as this."""


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that a `Retry-After` asks for, as a number or a date (RFC 9110, 10.2.3); 0 without a valid one.

    Args:
        headers: by their names in lower case, or in any.
    """
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(float(value), _LONGEST_S)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def from_upstream(status: int, body: bytes) -> APIError:
    """Read an error body: `{"error": {…}}`, `{"error": "…"}`, `{"detail": …}`, `{"message": …}` or plain text.

    Of pydantic's errors the first is told, with its field, and nothing of the class that it was raised by. Tracebacks
    are cut away; a prompt that is too long has the code `context_length_exceeded`.
    """
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        decoded = body.decode("utf-8", "replace").strip()
    fields = _fields(decoded)
    message = _TRACEBACK.sub("", str(fields.get("message") or "")).strip()
    message = message or f"The engine answered with status {status}."
    code = fields.get("code")
    kind = fields.get("type")
    param = fields.get("param")
    if invalid := _VALIDATION.match(message):
        param = param or invalid["field"]
        unknown = invalid["type"] == "extra_forbidden"
        message = f"Unrecognized request argument supplied: {param}" if unknown else f"{invalid['says']}: '{param}'."
    elif status == 400 and not param and (about := _ABOUT.match(message)):
        param = about["field"]
    if 400 <= status < 500 and _TOO_LONG.search(message):
        code = "context_length_exceeded"
    return APIError(
        message,
        status=status,
        type=str(kind) if kind else None,
        param=str(param) if param else None,
        code=str(code) if code is not None and str(code) != str(status) else None,
        retry_after=1 if status in (429, 503) else None,
    )


def field_about(message: str, fields: Sequence[tuple[str, str]]) -> str | None:
    """The field that a message is about; None where none of them is.

    Args:
        fields: words of a message, and the field that it is about then.
    """
    return next((field for words, field in fields if words in message), None)


def _fields(decoded: Any) -> dict[str, Any]:
    if not isinstance(decoded, dict):
        return {"message": decoded if isinstance(decoded, str) else ""}
    inner = decoded.get("error", decoded)
    if isinstance(inner, str):
        return {"message": inner}
    if isinstance(inner, dict):
        detail = inner.get("detail")
        if isinstance(detail, list) and detail and isinstance(detail[0], dict):
            where = ".".join(str(part) for part in detail[0].get("loc", ()) if part != "body")
            return {
                "message": f"{detail[0].get('msg', '')}: {where}" if where else detail[0].get("msg"),
                "param": where,
            }
        return {**inner, "message": inner.get("message") or detail}
    return {}
