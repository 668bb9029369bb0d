"""Which variables hold secrets, and which reach a child: all others, and of the secrets the ones that it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

_NAME = re.compile(
    r"(?:^|_)(?:API_?KEYS?|[A-Z]+_KEY|ACCESS_KEY_ID|SECRETS?|TOKEN|PASSWORDS?|PASSWD|PASSPHRASE|PASS|PAT|DSN|"
    r"CREDENTIALS?|AUTH|COOKIE|CONNECTION_STRING|WEBHOOK(?:_URL)?)$|PASSWORD$|TOKEN$",
    re.IGNORECASE,
)
"""How the name of a variable ends that holds a secret."""

_URL = re.compile(
    r"\w://[^/?#\s]*:[^/?#\s@]+@|"
    r"\w://\S*[?&][^=&\s]*(?:token|key|secret|password|passwd|signature|credential)[^=&\s]*=[^&\s]",
    re.IGNORECASE,
)
"""A URL with a password in it, before the host or behind a question mark."""

_PROXY = re.compile(r"_proxy$", re.IGNORECASE)
"""Proxies stay, passwords and all: without them nothing gets to a hub."""


def without_secrets(environ: Mapping[str, str], needed: Sequence[str] = ()) -> dict[str, str]:
    """The environment for a child that is not to have the secrets of its parent.

    A secret is told by the end of its name (`…_API_KEY`, `…_TOKEN`, `…_PASSWORD` and the like), or by a value that is a
    URL with a password or the like, unless it is a proxy's.

    Args:
        needed: names, or patterns of names, of secrets that the child needs all the same.
    """
    return {
        name: value
        for name, value in environ.items()
        if not _is_secret(name, value) or any(fnmatchcase(name, pattern) for pattern in needed)
    }


def is_secret_name(name: str) -> bool:
    """Whether a variable holds a secret, by the end of its name."""
    return _NAME.search(name) is not None


def _is_secret(name: str, value: str) -> bool:
    if is_secret_name(name):
        return True
    return bool(_URL.search(value)) and not _PROXY.search(name)
