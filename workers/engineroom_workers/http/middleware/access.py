"""Who may use the door: keys, browsers of other origins, and headers that make browsers careful."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engineroom.asgi import ASGIApp, Receive, Scope, Send, header, send_body
from engineroom.errors import APIError
from engineroom.openai.errors import error_body

from ..context import OPEN, get_context
from .api_keys import KeyRing
from .base import with_headers

_CAREFUL = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_TLS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class KeyCheck:
    """Lets in who presents a key: `Authorization: Bearer …`, or `x-api-key`, which Anthropic's clients send.

    Args:
        free: further routes that need none.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, free: Sequence[str] = ()) -> None:
        self._app = app
        self._ring = ring
        self._free = OPEN | set(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._free:
            secret = _presented(scope)
            key = self._ring.find(secret) if secret else None
            if key is None:
                await _refuse(scope, send, bool(secret))
                return
            get_context(scope).key = key
        await self._app(scope, receive, send)


def _presented(scope: Scope) -> bytes:
    scheme, _, secret = (header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and secret.strip():
        return secret.strip()
    return header(scope, b"x-api-key") or b""


async def _refuse(scope: Scope, send: Send, wrong: bool) -> None:
    said = (
        "Incorrect API key provided." if wrong else "You didn't provide an API key: send `Authorization: Bearer KEY`."
    )
    error = APIError(said, status=401, code="invalid_api_key")
    body = msgspec.json.encode(error_body(error, scope["path"]))
    await send_body(send, 401, body, b"application/json", [(b"www-authenticate", b"Bearer")])


class CarefulHeaders:
    """Adds the headers that OWASP's REST security cheat sheet asks of an API to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = list(_CAREFUL)
            # The page brings a policy of its own, under which its script may run.
            if scope["path"] != "/":
                headers.append(_NO_CONTENT)
            if scope["scheme"] == "https":
                headers.append(_TLS_ONLY)
            send = with_headers(send, headers)
        await self._app(scope, receive, send)


def cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, callable from pages of these origins; what they may read includes our own headers."""
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=[
            "x-request-id",
            "retry-after",
            "cache-status",
            *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
        ],
        max_age=3600,
    )
