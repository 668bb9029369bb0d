"""Errors as the API's clients expect them: OpenAI's shape, Anthropic's on Anthropic's routes, and as SSE events.

Sources: https://platform.openai.com/docs/guides/error-codes and https://docs.anthropic.com/en/api/errors.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from ..asgi.types import Headers, Scope, Send, header, send_body
from ..engine import SURFACE_PATHS
from ..errors import APIError
from .routes import MESSAGES, RESPONSES

_OPENAI_ROUTES = frozenset(SURFACE_PATHS.values()) - {MESSAGES}

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def is_anthropic(scope: Scope) -> bool:
    """Whether a request is one of Anthropic's API: by its route, or by the header that all of its clients send.

    The header alone decides where both have the route, or neither: proxies pass it on to OpenAI's own, too.
    """
    path = scope["path"]
    if path.startswith(MESSAGES):
        return True
    return path not in _OPENAI_ROUTES and header(scope, b"anthropic-version") is not None


def request_id(scope: Scope) -> bytes:
    """The request's id, which Anthropic's clients expect as `request-id`: the door's where there is one."""
    return header(scope, b"x-request-id") or f"req_{secrets.token_hex(12)}".encode()


def error_body(error: APIError, path: str = "") -> dict[str, Any]:
    """The JSON body of an error, in the shape that clients of `path` parse."""
    if path.startswith(MESSAGES):
        default = "invalid_request_error" if error.status < 500 else "api_error"
        kind = _ANTHROPIC_TYPES.get(error.status, default)
        # There is no place for the field but the sentence.
        named = error.param is None or error.param in error.message
        message = error.message if named else f"{error.param}: {error.message}"
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_event(error: APIError, path: str = "") -> bytes:
    """An error inside a stream that has begun: one whole SSE event."""
    body = error_body(error, path)
    if path == RESPONSES:
        # OpenAI's types have the error's fields in the event itself, and its servers also send them as `error`.
        body = {**body["error"], "type": "error", **body}
    name = b"event: error\n" if "type" in body else b""
    return name + b"data: " + msgspec.json.encode(body) + b"\n\n"


async def error_response(send: Send, scope: Scope, error: APIError, more: Headers | None = None) -> None:
    """Answer a request with an error; `more` are headers beside its own."""
    headers: Headers = list(more or ())
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.allow:
        headers.append((b"allow", ", ".join(error.allow).encode()))
    anthropic = is_anthropic(scope)
    content = error_body(error, MESSAGES if anthropic else scope["path"])
    if anthropic:
        identity = request_id(scope)
        headers.append((b"request-id", identity))
        content["request_id"] = identity.decode()
    body = msgspec.json.encode(content)
    await send_body(send, error.status, body, b"application/json", headers)
