"""A request's body, read whole and checked before anything else looks at it."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ..asgi.client import DECODABLE_BODY, DecodableBody
from ..asgi.disconnect import ClientDisconnected
from ..asgi.types import Receive, Scope, header
from ..errors import APIError

_KEY = "engineroom.request"
"""Where a scope carries its `Request` once it has been read; whoever needs it first reads it."""

_METHODS = frozenset({"POST", "PUT", "PATCH"})
"""Methods of requests whose body is JSON."""

_DEEPEST = 100
"""Levels of nesting that are taken; what looks into a request may recurse."""

_JSON_CHARACTER = 6
"""Bytes that one character takes in JSON at most."""

_JSON_NUMBER = 25
"""Bytes that a number, `true`, `false` or `null` takes in JSON at most, with the comma behind it."""


class Request:
    """What a request carries, as bytes and decoded.

    A caller in this process has the decoded body only. The bytes are then made when somebody needs them: an engine in
    this process never does, and a proxy does once.

    Args:
        body: the bytes as sent; None where they are still to be made from `json`.
        json: the decoded body of a JSON request; None for any other.
    """

    __slots__ = ("_body", "json")

    def __init__(self, body: bytes | None, json: dict[str, Any] | None) -> None:
        self._body = body
        self.json = json

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        if self._body is None:
            self._body = msgspec.json.encode(self.json)
        return self._body

    @property
    def size(self) -> int:
        """Bytes of the body; of one that is still to be made, at most so many."""
        return check_json(self.json) if self._body is None else len(self._body)

    def set_field(self, name: str, value: Any) -> None:
        """Set a field of a JSON body, in both of its forms."""
        assert self.json is not None
        self.json[name] = value
        self._body = None

    def with_field(self, name: str, value: Any) -> Request:
        """A copy with one field more, or another value of it. A body that is there is not encoded anew for one more."""
        assert self.json is not None
        json = {**self.json, name: value}
        if self._body is None or name in self.json or not self.json:
            return Request(None, json)
        field = msgspec.json.encode({name: value})[:-1]
        return Request(field + b"," + self._body.partition(b"{")[2], json)


async def read_request(scope: Scope, receive: Receive, max_body: int) -> Request:
    """The request of `scope`; read now, unless that has been done already.

    Args:
        max_body: largest body in bytes.

    Raises:
        APIError: 413 for a body that is too large, 400 for one that is not a JSON object.
        ClientDisconnected: the client went away first.
    """
    request = get_request(scope)
    if request is None:
        request = scope[_KEY] = await _read_request(scope, receive, max_body)
    return request


def get_request(scope: Scope) -> Request | None:
    """The request of `scope` if it has been read, else None."""
    return scope.get(_KEY)


def checked_request(scope: Scope) -> Request:
    """The request of a scope behind the gateway, which has read and checked it."""
    request: Request = scope[_KEY]
    return request


def requested_model(scope: Scope) -> str | None:
    """The model that a checked request names; None for one without a JSON body or a model."""
    json = checked_request(scope).json
    model = None if json is None else json.get("model")
    return model if isinstance(model, str) else None


def with_request(scope: Scope, request: Request) -> Scope:
    """A copy of the scope with another request, for the apps further in; those further out keep theirs."""
    return {**scope, _KEY: request}


async def _read_request(scope: Scope, receive: Receive, max_body: int) -> Request:
    decodable: DecodableBody | None = scope.get(DECODABLE_BODY) if scope["method"] in _METHODS else None
    decoded = decodable.take() if decodable is not None else None
    if decoded is not None:
        request = Request(None, decoded)
        _check_decoded(request, max_body)
        return request
    body = await _read(scope, receive, max_body)
    return Request(body, _decode(body) if _is_json(scope) else None)


async def _read(scope: Scope, receive: Receive, max_body: int) -> bytes:
    declared = header(scope, b"content-length")
    if declared and declared.isdigit() and int(declared) > max_body:
        raise _too_large(max_body)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            part = message.get("body", b"")
            size += len(part)
            if size > max_body:
                raise _too_large(max_body)
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)
    finally:
        parts.clear()  # An exception may live for long, and has this frame in its traceback.


def _is_json(scope: Scope) -> bool:
    if scope["method"] not in _METHODS:
        return False
    kind = (header(scope, b"content-type") or b"application/json").split(b";")[0].strip().lower()
    return not kind.startswith(b"multipart/")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error) from error
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


def _check_decoded(request: Request, max_body: int) -> None:
    """Refuse what would be refused as bytes: too large, too deep, or not JSON."""
    if check_json(request.json) > max_body and len(request.body) > max_body:
        raise _too_large(max_body)


def check_json(value: Any, name: str = "body of your request") -> int:
    """Check a value that another decoder made: Python's own lets through what is no JSON.

    Args:
        value: decoded, an object as a rule.
        name: what errors call it.

    Returns:
        The bytes that it takes as JSON, estimated from above.

    Raises:
        APIError: 400 for half of a surrogate pair, an infinite number or none, and for deep nesting.
    """
    estimate = 0
    level: list[Any] = [[value]]
    for _ in range(_DEEPEST + 1):
        inner: list[Any] = []
        for container in level:
            estimate += 2
            if isinstance(container, dict):
                for key in container:
                    estimate += len(key) * _JSON_CHARACTER + 4
                    _check_text(key, name)
            for part in container.values() if isinstance(container, dict) else container:
                if isinstance(part, str):
                    estimate += len(part) * _JSON_CHARACTER + 3
                    _check_text(part, name)
                elif isinstance(part, (dict, list)):
                    inner.append(part)
                elif isinstance(part, float) and not math.isfinite(part):
                    raise _not_json(f"{part} is not a number in JSON", name)
                else:
                    estimate += _JSON_NUMBER
        level = inner
        if not level:
            return estimate
    raise _too_deep(name)


def _check_text(text: str, name: str) -> None:
    """Refuse half of a surrogate pair, which UTF-8 does not have."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_json(error, name) from error


def _not_json(reason: object, name: str = "body of your request") -> APIError:
    return APIError(f"We could not parse the JSON {name}: {reason}.", code="invalid_json")


def _too_deep(name: str = "body of your request") -> APIError:
    return APIError(f"The {name} is nested more than {_DEEPEST} levels deep.", code="invalid_json")


def _too_large(max_body: int) -> APIError:
    return APIError(
        f"The request body is larger than {max_body / 1e6:g} MB, the limit here.",
        status=413,
        code="request_too_large",
    )
