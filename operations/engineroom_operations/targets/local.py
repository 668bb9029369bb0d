"""The server on this machine that no argument means: where HOST and PORT of the settings in force say."""

from __future__ import annotations

from collections.abc import Mapping

from .address import parse
from .target import RemoteTarget, with_key

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def local_server(env: Mapping[str, str], given_key: str = "") -> RemoteTarget:
    """The target for `engineroom serve` with these settings.

    Args:
        env: the settings in force, `engineroom.settings.Environment`.
    """
    host = env.get("HOST") or "127.0.0.1"
    host = _ANY.get(host, f"[{host}]" if ":" in host else host)
    scheme = "https" if env.get("UVICORN_SSL_CERTFILE") else "http"
    return with_key(parse(f"{scheme}://{host}:{env.get('PORT') or 8000}"), env, given_key)
