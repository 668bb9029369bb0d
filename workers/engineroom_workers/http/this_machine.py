"""Whether a request comes from this machine, as far as it can tell."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from .settings import is_loopback

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers by which proxies say that somebody else asks."""


def by_a_name_of_it(request: Request) -> bool:
    """Whether whoever asks knows this machine as itself. By another name somebody else's page may ask (DNS rebinding),
    and a proxy for somebody elsewhere."""
    return is_loopback(request.url.hostname or "") and not any(name in request.headers for name in _FORWARDED)


def by_its_own_programs(request: Request) -> bool:
    """Whether a program on this machine asks, or a page that this door has served: no page of another site may."""
    origin = request.headers.get("origin")
    at_home = origin is None or urlsplit(origin).netloc == request.url.netloc
    return at_home and request.client is not None and is_loopback(request.client.host) and by_a_name_of_it(request)
