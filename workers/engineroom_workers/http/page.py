"""The page at `/`: its files, under a policy that lets nothing else run, and what `/` says where there is none."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from engineroom.errors import APIError
from engineroom.openai.errors import error_body

from .middleware.base import PAGE_FILES
from .routes import OwnRoute
from .this_machine import by_a_name_of_it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import Route

    from engineroom.plugins import EngineChoice

    from .middleware.base import Resources

_FOLDER = Path(__file__).with_name("page_files")
_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
_OFF = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>engineroom</title><h1>engineroom</h1><p>{0}</p><p>The API is at <code>/v1</code>, for any OpenAI client.</p>
"""
_NO_PAGE = "The page is off here. To switch it on, start the server with <code>PAGE=true</code>."
_NOT_FOR_YOU = (
    "The page is only for browsers on the server's own machine, and this request came from elsewhere. To show it to "
    "everybody who can reach the server, start it with <code>PAGE=true</code>, best with keys (<code>API_KEYS</code>)."
)


def page_routes(resources: Resources) -> list[Route]:
    """`/` and its files, which have nothing secret in them, and `/settings.json`, which belongs behind the keys.

    Where nobody has asked for the page, it is only for browsers on this machine: whoever comes through a proxy, or by a
    name that is not this machine's (DNS rebinding), is refused.
    """
    html = (_FOLDER / "page.html").read_text(encoding="utf-8")
    settings = in_force(resources.choices)
    for_all = resources.options.observe.page is True

    async def page(request: Request) -> Response:
        if not (for_all or by_a_name_of_it(request)):
            return _refusal(request, _NOT_FOR_YOU)
        nonce = secrets.token_urlsafe(16)
        headers = {"content-security-policy": _POLICY.format(nonce), "cache-control": "no-store"}
        return HTMLResponse(html.replace("NONCE", nonce), headers=headers)

    async def as_json(request: Request) -> Response:
        if not (for_all or by_a_name_of_it(request)):
            return _refusal(request, _NOT_FOR_YOU)
        return JSONResponse(settings)

    files = [_file(_FOLDER / name) for name in PAGE_FILES]
    return [OwnRoute("/", page), _dashboard(), OwnRoute("/settings.json", as_json), *files]


def page_off() -> Route:
    """`/` where there is no page: it says to browsers how to switch it on."""

    async def no_page(request: Request) -> Response:
        return _refusal(request, _NO_PAGE)

    return OwnRoute("/", no_page)


def _dashboard() -> Route:
    """`/dashboard`, where runpod-llm-manager has its page, leads to ours."""

    async def dashboard(request: Request) -> Response:
        return RedirectResponse("./")  # Relative, so that it holds behind a proxy's prefix.

    return OwnRoute("/dashboard", dashboard)


def _file(path: Path) -> Route:
    """A file of the page. Those of other people have their version in their name, so that they never change."""
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    lifetime = "public, max-age=31536000, immutable" if path.parent.name == "vendor" else "no-cache"
    headers = {"cache-control": lifetime, "etag": tag, "x-content-type-options": "nosniff"}

    async def file(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_MEDIA_TYPES[path.suffix], headers=headers)

    return OwnRoute(f"/page/{path.name}", file)


def _refusal(request: Request, reason: str) -> Response:
    """404 with the reason for people; OpenAI's error for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_OFF.format(reason), status_code=404, headers={"vary": "accept"})
    error = APIError(f"Invalid URL ({request.method} {request.url.path}).", status=404)
    return JSONResponse(error_body(error), status_code=404, headers={"vary": "accept"})


def in_force(choices: Sequence[EngineChoice]) -> list[dict[str, str]]:
    """The settings that are not at their defaults: `name`, `value` and `source`; a secret's value is hidden.

    Args:
        choices: the engine; of several models each one's, whose own settings are named by their place in the table.
    """
    from engineroom import plugins
    from engineroom.settings import without_user_info

    settings: dict[str, dict[str, str]] = {}
    for choice in choices:
        for group in plugins.settings_groups(choice.engine, choice.env):
            for setting in group.describe():
                value, source = setting.in_force(choice.env)
                if not value or source == "default":
                    continue
                own = bool(choice.place) and source.startswith(choice.place)
                name = f"{choice.place}.{setting.name}" if own else setting.name
                shown = "•••" if setting.hides(value) else without_user_info(value)
                settings.setdefault(name, {"name": name, "value": shown, "source": source})
    return list(settings.values())
