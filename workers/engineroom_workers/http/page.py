"""The page at `/`: one file without outside assets, under a policy that lets nothing else run."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from .routes import OwnRoute

if TYPE_CHECKING:
    from starlette.routing import Route

    from engineroom.engine import Engine
    from engineroom.settings import Environment

_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_USER = re.compile(r"(\w://)[^/@\s]+@")
"""The user in a URL, often with a password."""


def page_routes(engine_type: type[Engine], env: Environment) -> list[Route]:
    """`/`, which has nothing secret in it, and `/settings.json`, which belongs behind the keys."""
    html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    settings = in_force(engine_type, env)

    async def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        headers = {"content-security-policy": _POLICY.format(nonce), "cache-control": "no-store"}
        return HTMLResponse(html.replace("NONCE", nonce), headers=headers)

    async def as_json(request: Request) -> Response:
        return JSONResponse(settings)

    return [OwnRoute("/", page), OwnRoute("/settings.json", as_json)]


def in_force(engine_type: type[Engine], env: Environment) -> list[dict[str, str]]:
    """The settings that are not at their defaults: `name`, `value` and `source`; a secret's value is hidden."""
    from engineroom import plugins

    settings = []
    for group in plugins.settings_groups(engine_type, env):
        for setting in group.describe():
            value, source = setting.in_force(env)
            if value and source != "default":
                shown = "•••" if setting.secret else _USER.sub(r"\1•••@", value)
                settings.append({"name": setting.name, "value": shown, "source": source})
    return settings
