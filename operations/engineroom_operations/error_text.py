"""The reason in an error's body, whoever's server it is."""

from __future__ import annotations

import json
import re
from typing import Any

from .terminal_text import one_line

_FIELDS = ("error", "detail", "message", "title")
_TAG = re.compile(r"<[^>]*>")


def json_or_text(body: bytes) -> Any:
    """The JSON of a body; its text where it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def error_text(content: Any) -> str:
    """The reason that an error gives, as one line of at most 300 characters; empty where there is none.

    Args:
        content: a body as `json_or_text` has it: in OpenAI's form, RunPod's, that of problem details (RFC 9457) or any
            other; of a page of HTML it is what stands on it.
    """
    reason: Any = content
    if isinstance(content, dict):
        reason = next((content[field] for field in _FIELDS if content.get(field)), "")
    if isinstance(reason, dict):
        reason = reason.get("message") or reason
    if isinstance(content, str):
        reason = _TAG.sub(" ", content)
    if not reason:
        return ""
    return one_line(reason if isinstance(reason, str) else json.dumps(reason))
