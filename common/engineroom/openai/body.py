"""A request's body, read whole and checked before anything else looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ..asgi.disconnect import ClientDisconnected
from ..asgi.types import Receive, Scope, header
from ..errors import APIError

KEY = "engineroom.request"
"""Where a scope carries its `Request` once it has been read; whoever needs it first reads it."""


@dataclass(slots=True)
class Request:
    """What a request carries.

    body: the bytes as sent.
    json: the decoded body of a JSON request, None for any other.
    """

    body: bytes
    json: dict[str, Any] | None


_DEEPEST = 100
"""Levels of nesting that are taken; what looks into a request may recurse."""


async def read_request(scope: Scope, receive: Receive, max_body: int) -> Request:
    """The request of `scope`; read now, unless that has been done already.

    Args:
        max_body: largest body in bytes.

    Raises:
        APIError: 413 for a body that is too large, 400 for one that is not a JSON object.
        ClientDisconnected: the client went away first.
    """
    known: Request | None = scope.get(KEY)
    if known is None:
        body = await _read(scope, receive, max_body)
        scope[KEY] = known = Request(body, _decode(body) if _is_json(scope) else None)
    return known


def get_request(scope: Scope) -> Request | None:
    """The request of `scope` if it has been read, else None."""
    return scope.get(KEY)


async def _read(scope: Scope, receive: Receive, max_body: int) -> bytes:
    declared = header(scope, b"content-length")
    too_large = APIError(
        f"The request body is larger than {max_body / 1e6:g} MB, the limit here.",
        status=413,
        code="request_too_large",
    )
    if declared and declared.isdigit() and int(declared) > max_body:
        raise too_large
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        size += len(part)
        if size > max_body:
            raise too_large
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _is_json(scope: Scope) -> bool:
    if scope["method"] not in ("POST", "PUT", "PATCH"):
        return False
    kind = (header(scope, b"content-type") or b"application/json").split(b";")[0].strip().lower()
    return not kind.startswith(b"multipart/")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise APIError(f"We could not parse the JSON body of your request: {error}.", code="invalid_json") from error
    if not isinstance(decoded, dict):
        raise APIError("The body of your request must be a JSON object.", code="invalid_json")
    # Few have so many brackets; only those are looked at more closely.
    if body.count(b"{") + body.count(b"[") > _DEEPEST and _depth_exceeds(decoded, _DEEPEST):
        raise _too_deep()
    return decoded


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        inner = (part for outer in level for part in (outer.values() if isinstance(outer, dict) else outer))
        level = [part for part in inner if isinstance(part, (dict, list))]
        if not level:
            return False
    return True


def _too_deep() -> APIError:
    return APIError(f"The body of your request is nested more than {_DEEPEST} levels deep.", code="invalid_json")
