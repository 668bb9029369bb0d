"""What browsers need: leave for pages of other origins, and headers that make browsers careful."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from starlette.middleware.cors import CORSMiddleware

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, at_head

from .base import PAGE, Middleware, Resources, with_headers

if TYPE_CHECKING:
    from ..options import Options

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_TLS_ONLY = (b"strict-transport-security", b"max-age=31536000")
_EXPOSED_HEADERS = [
    "x-request-id",
    "retry-after",
    "cache-status",
    *(f"x-ratelimit-{name}-{unit}" for name in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
]
"""Our own headers, which pages of other origins may read."""


class SecurityHeadersMiddleware(Middleware):
    """Adds the headers that OWASP's REST security cheat sheet asks of an API to every response:
    https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html
    """

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.access.security_headers

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self.serve(scope, receive, send)  # The door's own routes too.
        return self.app(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(_HEADERS)
        # The page brings a policy of its own, under which its scripts may run.
        if scope["path"] not in PAGE:
            headers.append(_NO_CONTENT)
        if scope["scheme"] == "https":
            headers.append(_TLS_ONLY)
        await self.app(scope, receive, with_headers(send, headers))


class _CORSMiddleware(CORSMiddleware):
    """Starlette's, which leaves all but a response's start as it is: that need not pass through its coroutine."""

    async def simple_response(self, scope: Any, receive: Any, send: Any, request_headers: Any) -> None:
        def send_head(message: Message) -> Awaitable[None]:
            return self.send(message, send=send, request_headers=request_headers)

        await self.app(scope, receive, at_head(send, send_head))


class CrossOriginMiddleware(Middleware):
    """Lets pages of the origins in CORS_ORIGINS call the API, by Starlette's CORS middleware."""

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._cors = _CORSMiddleware(
            app,
            allow_origins=resources.options.access.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=_EXPOSED_HEADERS,
            max_age=3600,
        )

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return bool(options.access.cors_origins)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self.serve(scope, receive, send)  # The door's own routes too.

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._cors(scope, receive, send)
