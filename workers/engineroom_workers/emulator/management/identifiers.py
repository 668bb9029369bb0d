"""Ids and times as the management API writes them."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import Final

_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
LENGTH: Final = 14


def new_id() -> str:
    """An id such as the platform gives: lower-case letters and digits, so that it may be part of a host's name."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


def timestamp(seconds: float, timespec: str = "milliseconds") -> str:
    """A time (seconds since the epoch) as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")
