"""Settings of the upstream engine over servers that run elsewhere, and what its tests ask of them."""

from __future__ import annotations

from typing import Any

HELLO: Any = [{"role": "user", "content": "Hello 🦙 there"}]


def over(*urls: str, **settings: str) -> dict[str, str]:
    """The engine over these servers."""
    return {"ENGINE": "upstream", "UPSTREAM_URLS": ",".join(urls), **settings}


def unchecked(*urls: str, **settings: str) -> dict[str, str]:
    """The engine over servers that it does not check before a request."""
    return over(*urls, UPSTREAM_CHECK="0", MODEL_NAME="echo", **settings)
