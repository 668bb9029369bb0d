"""A field of a form that was sent with files, as transcriptions of speech are."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(rb'boundary="?([^";,\s]+)"?', re.IGNORECASE)
_LONGEST = 1000


def form_field(content_type: bytes, body: bytes, name: str) -> str | None:
    """The text of a field in a body of `multipart/form-data` (RFC 7578); None where there is none of that name."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None or not content_type.strip().lower().startswith(b"multipart/form-data"):
        return None
    wanted = re.compile(rb'[;\s]name="?' + re.escape(name.encode()) + rb'"?\s*(;|\r\n|$)', re.IGNORECASE)
    for part in body.split(b"--" + boundary[1]):
        head, blank, value = part.partition(b"\r\n\r\n")
        if blank and wanted.search(head) and len(value) <= _LONGEST:
            return value.removesuffix(b"\r\n").decode("utf-8", "replace")
    return None
