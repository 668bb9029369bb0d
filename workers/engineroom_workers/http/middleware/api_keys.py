"""API keys: who may come, and what each may use."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engineroom.errors import Problem, SettingsError

if TYPE_CHECKING:
    from ..settings import AccessSettings

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0


class Key(BaseModel):
    """A client, by the name that logs and metrics show; a limit that is None is the door's default.

    priority: where requests wait, those of a higher one come first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    concurrency: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    priority: int = 0


ANONYMOUS = Key(name="anonymous")
"""Everybody, where no keys are in use."""


class KeyRing:
    """The keys in force: API_KEYS, and those of API_KEYS_FILE, which is read again when it changes.

    A file that has become unreadable changes nothing, and is complained of in the log.

    Raises:
        SettingsError: the keys are wrong, at the start.
    """

    def __init__(self, settings: AccessSettings) -> None:
        # Presented keys are looked up by a digest under a secret of this process: whatever the look-up's time
        # tells, it tells of digests that nobody outside can compute, so comparing takes no time that says anything.
        self._pepper = secrets.token_bytes(32)
        self._file = settings.api_keys_file
        given = settings.api_keys.get_secret_value() if settings.api_keys else ""
        self._given = self._parse("API_KEYS", _listed(given))
        self._known = self._given
        self._seen: tuple[int, ...] = ()
        self._look_at = 0.0
        if self._file is not None:
            self._read(self._file)
        if not self._known:
            raise SettingsError([Problem("API_KEYS_FILE" if self._file else "API_KEYS", "there is no key in it")])

    def find(self, secret: bytes) -> Key | None:
        """Whose key `secret` is; None for nobody's."""
        if self._file is not None and time.monotonic() >= self._look_at:
            try:
                self._read(self._file)
            except SettingsError as error:
                logger.error("the keys stay as they were: %s", error)
        return self._known.get(self._digest(secret))

    def _digest(self, secret: bytes) -> bytes:
        return hashlib.blake2b(secret, key=self._pepper).digest()

    def _read(self, file: Path) -> None:
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        try:
            stat = os.stat(file)
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError([Problem("API_KEYS_FILE", f"cannot read {file}: {error}")]) from error
        changed = bool(self._seen)
        self._seen = seen
        self._known = self._given | self._parse("API_KEYS_FILE", _mapping(text, file))
        if changed:
            logger.info("%d keys read again from %s", len(self._known), file)

    def _parse(self, variable: str, entries: Sequence[tuple[str, Any]]) -> dict[bytes, Key]:
        known: dict[bytes, Key] = {}
        names: set[str] = set()
        for name, value in entries:
            if name in names:
                raise SettingsError([Problem(variable, f"{name} is there twice")])
            names.add(name)
            fields = dict(value) if isinstance(value, dict) else {"key": value}
            secret = fields.pop("key", None)
            # No client can send the white space around it: the header would not have it.
            secret = secret.strip() if isinstance(secret, str) else None
            if not secret:
                raise SettingsError([Problem(variable, f"{name} has no key; write `{name}: <key>`, a string")])
            try:
                key = Key(name=name, **fields)
            except (ValidationError, TypeError) as error:
                why = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
                where = ".".join([name, *map(str, why["loc"])])
                raise SettingsError([Problem(variable, f"{where}: {why['msg']}")]) from None
            if known.setdefault(self._digest(secret.encode()), key) is not key:
                raise SettingsError([Problem(variable, f"{name} has the same key as another")])
        return known


def _listed(text: str) -> list[tuple[str, Any]]:
    entries = []
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, colon, secret = part.partition(":")
        entries.append((name.strip(), secret) if colon else (f"key-{number}", part))
    return entries


def _mapping(text: str, file: Path) -> list[tuple[str, Any]]:
    import yaml

    try:
        # Node by node: a mapping would keep the last of two entries of a name, and lock the other's owner out.
        root, loader = yaml.compose(text, yaml.SafeLoader), yaml.SafeLoader("")
        if not isinstance(root, yaml.MappingNode) or not all(
            isinstance(name, yaml.ScalarNode) for name, _ in root.value
        ):
            raise SettingsError([Problem("API_KEYS_FILE", f"{file} must hold a mapping of names to keys")])
        return [(name.value, loader.construct_document(value)) for name, value in root.value]
    except (yaml.YAMLError, ValueError, RecursionError):
        # The parser's own message may quote a line, and lines here are secrets.
        raise SettingsError([Problem("API_KEYS_FILE", f"{file} is not valid YAML or JSON")]) from None
