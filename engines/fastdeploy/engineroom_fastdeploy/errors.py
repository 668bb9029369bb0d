"""FastDeploy's errors as OpenAI's: it answers 500 or 200 for most, and means what the type says."""

from __future__ import annotations

import re

from engineroom.errors import APIError
from engineroom.openai.upstream_errors import from_upstream

STATUS = {"invalid_request_error": 400, "invalid_request": 400, "timeout_error": 408}
TYPES = {400: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_error"}
_WHERE = re.compile(r"^(?:request\[[^\]]*\]|OpenAIServing\w+)[\w ]*: ?")
_PATH = re.compile(r"(?<![\w:/.])/(?:[\w.@+-]+/)+(?=[\w.@+-])")
_FIELD_AND_REASON = re.compile(r"""^\(['"](?P<field>\w+)['"], (?P<quote>['"])(?P<reason>.*)(?P=quote)\)$""", re.DOTALL)
"""A Python error with two arguments, as text."""
_TOO_LONG = re.compile(r"Input text is too long|exceeds the limit max_model_len")


def normalise(status: int, body: bytes) -> APIError:
    """Read an error by its type and code; the traceback, where it happened and paths are cut away.

    Args:
        status: the one it came under; 429, 401 and other 4xx are believed, the rest is not.
    """
    error = from_upstream(status, body)
    message = _PATH.sub("", _WHERE.sub("", error.message + " ")).strip(" ,")
    param = error.param
    if named := _FIELD_AND_REASON.match(message):
        param = named["field"]
        message = named["reason"]
    code = error.code
    if code == "model_not_support":
        status = 404
        code = "model_not_found"
    elif not 400 <= status < 500:
        status = STATUS.get(error.type, 500)
    if status == 400 and _TOO_LONG.search(message):
        code = "context_length_exceeded"
    if not message:
        message = (
            "The request waited too long for its turn." if status == 408 else "The engine failed without a reason."
        )
    kind = TYPES.get(status, "server_error" if status >= 500 else error.type)
    return APIError(
        message, status=status, type=kind, param=param, code=code, retry_after=1 if status in (408, 429) else None
    )
