"""llama.cpp's error answers, and its ends, in words that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import from_upstream

_UNSUPPORTED_INPUT = re.compile(r"^(image|audio|video) input is not supported")
_ILLEGAL, _SEGMENTATION = -4, -11
_SAYING_WHY = re.compile(r"error|failed|unable|cannot|invalid|out of memory|not found|unknown", re.IGNORECASE)


def normalise(status: int, body: bytes) -> APIError:
    """llama.cpp's error as OpenAI's: its own types are names of the kind that OpenAI has in `code`."""
    error = from_upstream(status, body)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if match := _UNSUPPORTED_INPUT.match(error.message):
        message = f"This model takes no {match[1]} input; MMPROJ names the projector of a model that does."
        return APIError(message, status=400, param="messages", code="unsupported_content")
    return APIError(
        error.message,
        status=error.status,
        type=kind,
        param=error.param,
        code=error.code if error.code and not error.code.isdigit() else None,
        retry_after=error.retry_after,
    )


def explain_exit(returncode: int, log: Sequence[str]) -> str | None:
    """Why the process ended."""
    if returncode in (_ILLEGAL, _SEGMENTATION):
        return (
            "a machine that advertises CPU instructions it does not let programs use (AMX on some virtual machines) "
            "ends it so; REPACK=false may help"
        )
    return next((line for line in reversed(log) if _SAYING_WHY.search(line)), log[-1] if log else None)
