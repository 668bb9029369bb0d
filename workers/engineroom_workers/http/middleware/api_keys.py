"""API keys: who may use the API, and how much of it."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import ValidationError

from engineroom.asgi import ASGIApp, Receive, Scope, Send, header, send_body
from engineroom.errors import APIError, Problem, SettingsError
from engineroom.openai.errors import error_body

from .base import OPEN, Middleware, Resources
from .context import APIKey, get_context

if TYPE_CHECKING:
    from ..options import Options
    from ..settings import AccessSettings

logger = logging.getLogger(__name__)

_RELOAD_INTERVAL_S = 1.0
"""How often, at most, we look whether the file of keys has changed."""


class APIKeyMiddleware(Middleware):
    """Lets in who presents a key: `Authorization: Bearer …`, or `x-api-key`, which Anthropic's clients send.

    Health checks need none, nor does the page, which has nothing secret in it, nor metrics with METRICS_OPEN.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        options = resources.options
        self._keys = KeyRing(options.access)
        self._open = OPEN
        if options.access.metrics_open:
            self._open |= {"/metrics", "/metrics.json"}
        if options.observe.page:
            self._open |= {"/"}

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.access.api_keys is not None or options.access.api_keys_file is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open:
            await self.app(scope, receive, send)
        else:
            await self.serve(scope, receive, send)

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
    body = msgspec.json.encode(error_body(error, scope["path"]))
    await send_body(send, 401, body, b"application/json", [(b"www-authenticate", b"Bearer")])


class KeyRing:
    """The keys in force: API_KEYS, and those of API_KEYS_FILE, which is read again when it changes.

    A file that has become unreadable changes nothing; the log complains of it.

    Raises:
        SettingsError: the keys are wrong, at the start.
    """

    def __init__(self, settings: AccessSettings) -> None:
        # We look keys up by a digest under a secret of this process. How long that takes may tell something of the
        # digests, but nobody outside can compute one, so it tells nothing of the keys.
        self._pepper = secrets.token_bytes(32)
        self._file = settings.api_keys_file
        listed = settings.api_keys.get_secret_value() if settings.api_keys else ""
        self._from_variable = self._parse("API_KEYS", _parse_list(listed))
        self._keys = self._from_variable
        self._file_version: tuple[int, ...] = ()
        self._reload_at = 0.0
        if self._file is not None:
            self._read(self._file)
        if not self._keys:
            raise SettingsError([Problem("API_KEYS_FILE" if self._file else "API_KEYS", "there is no key in it")])

    def find(self, secret: bytes) -> APIKey | None:
        """Whose key `secret` is; None for nobody's."""
        if self._file is not None and time.monotonic() >= self._reload_at:
            try:
                self._read(self._file)
            except SettingsError as error:
                logger.error("the keys stay as they were: %s", error)
        return self._keys.get(self._digest(secret))

    def _digest(self, secret: bytes) -> bytes:
        return hashlib.blake2b(secret, key=self._pepper).digest()

    def _read(self, file: Path) -> None:
        self._reload_at = time.monotonic() + _RELOAD_INTERVAL_S
        try:
            stat = os.stat(file)
            version = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if version == self._file_version:
                return
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError([Problem("API_KEYS_FILE", f"cannot read {file}: {error}")]) from error
        changed = bool(self._file_version)
        self._file_version = version
        self._keys = self._from_variable | self._parse("API_KEYS_FILE", _parse_file(text, file))
        if changed:
            logger.info("%d keys read again from %s", len(self._keys), file)

    def _parse(self, variable: str, entries: Sequence[tuple[str, Any]]) -> dict[bytes, APIKey]:
        keys: dict[bytes, APIKey] = {}
        names: set[str] = set()
        for name, value in entries:
            if name in names:
                raise SettingsError([Problem(variable, f"{name} is there twice")])
            names.add(name)
            fields = dict(value) if isinstance(value, dict) else {"key": value}
            secret = fields.pop("key", None)
            # No client can send a key with white space around it: HTTP strips it from headers.
            secret = secret.strip() if isinstance(secret, str) else None
            if not secret:
                raise SettingsError([Problem(variable, f"{name} has no key; write `{name}: <key>`, a string")])
            try:
                key = APIKey(name=name, **fields)
            except (ValidationError, TypeError) as error:
                where = name
                message = str(error)
                if isinstance(error, ValidationError):
                    first = error.errors()[0]
                    where = ".".join([name, *map(str, first["loc"])])
                    message = first["msg"]
                raise SettingsError([Problem(variable, f"{where}: {message}")]) from None
            if keys.setdefault(self._digest(secret.encode()), key) is not key:
                raise SettingsError([Problem(variable, f"{name} has the same key as another")])
        return keys


def _parse_list(text: str) -> list[tuple[str, Any]]:
    """The entries of API_KEYS: `name:key` or just `key`, which is called `key-1` and so on by its place."""
    entries: list[tuple[str, Any]] = []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for number, part in enumerate(parts, 1):
        name, colon, secret = part.partition(":")
        if colon:
            entries.append((name.strip(), secret))
        else:
            entries.append((f"key-{number}", part))
    return entries


def _parse_file(text: str, file: Path) -> list[tuple[str, Any]]:
    """The entries of API_KEYS_FILE.

    Raises:
        SettingsError: it is not YAML or JSON, or not a mapping.
    """
    import yaml

    try:
        # Node by node: a mapping would keep the last of two entries of a name, and lock the other's owner out.
        root = yaml.compose(text, yaml.SafeLoader)
        loader = yaml.SafeLoader("")
        if not isinstance(root, yaml.MappingNode) or not all(
            isinstance(name, yaml.ScalarNode) for name, _ in root.value
        ):
            raise SettingsError([Problem("API_KEYS_FILE", f"{file} must hold a mapping of names to keys")])
        return [(name.value, loader.construct_document(value)) for name, value in root.value]
    except (yaml.YAMLError, ValueError, RecursionError):
        # The parser's own message may quote a line, and lines here are secrets.
        raise SettingsError([Problem("API_KEYS_FILE", f"{file} is not valid YAML or JSON")]) from None
