"""API keys: who may use the API, and how much of it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from engineroom.asgi import ASGIApp, Receive, Scope, Send, header
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from ..keys import APIKey
from ..watched_files import WatchedFiles
from .base import OPEN, PAGE, Middleware, Resources
from .context import get_context

if TYPE_CHECKING:
    from ..options import Options
    from ..settings import AccessSettings


class APIKeyMiddleware(Middleware):
    """Lets in who presents a key: `Authorization: Bearer …`, or `x-api-key`, which Anthropic's clients send.

    Health checks need none, nor does the page, which has nothing secret in it, nor metrics with METRICS_OPEN.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        options = resources.options
        self._keys = KeyRing(options.access)
        if self._keys.watched is not None:
            resources.watched.append(self._keys.watched)
        self._open = OPEN | PAGE
        if options.access.metrics_open:
            self._open |= {"/metrics", "/metrics.json"}

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.access.keys_in_use

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["path"] in self._open:
            return self.app(scope, receive, send)
        return self.serve(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret = _presented_secret(scope)
        key = self._keys.find(secret) if secret else None
        if key is None:
            await _refuse(scope, send, wrong=bool(secret))
            return
        get_context(scope).key = key
        await self.app(scope, receive, send)


def _presented_secret(scope: Scope) -> bytes:
    scheme, _, secret = (header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and secret.strip():
        return secret.strip()
    return header(scope, b"x-api-key") or b""


async def _refuse(scope: Scope, send: Send, wrong: bool) -> None:
    message = "You didn't provide an API key: send `Authorization: Bearer KEY`."
    if wrong:
        message = "Incorrect API key provided."
    error = APIError(message, status=401, code="invalid_api_key")
    await error_response(send, scope, error, [(b"www-authenticate", b"Bearer")])


class KeyRing:
    """The keys in force, found by what a client presents. They are read again when API_KEYS_FILE changes.

    watched: the file; None where there is none.

    Raises:
        SettingsError: the keys are wrong, at the start.
    """

    def __init__(self, settings: AccessSettings) -> None:
        # We look keys up by a digest under a secret of this process. How long that takes may tell something of the
        # digests, but nobody outside can compute one, so it tells nothing of the keys.
        self._pepper = secrets.token_bytes(32)
        self._settings = settings
        self._keys: dict[bytes, APIKey] = {}
        self.watched: WatchedFiles | None = None
        if settings.api_keys_file is not None:
            self.watched = WatchedFiles([settings.api_keys_file], "the keys", self._read)
        self._read()

    def find(self, secret: bytes) -> APIKey | None:
        """Whose key `secret` is; None for nobody's."""
        return self._keys.get(self._digest(secret))

    def _digest(self, secret: bytes) -> bytes:
        return hashlib.blake2b(secret, key=self._pepper).digest()

    def _read(self) -> None:
        self._keys = {self._digest(secret.encode()): key for secret, key in self._settings.read_keys().items()}
