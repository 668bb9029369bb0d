"""What a client may have meant by a path that is not served.

We answer with a 404 and this hint, and do not serve the path that was meant: a proxy in front of the door may allow
and forbid by path, and `//metrics` must not pass where `/metrics` may not.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from ..engine import Route
from . import routes

_PREFIXES = ("v1", "openai", "api", "v1beta")
"""What base URLs of other services begin with; a client that adds `/v1` to a base URL doubles it."""

_FOREIGN = {
    "/api/chat": routes.CHAT_COMPLETIONS,
    "/api/generate": routes.COMPLETIONS,
    "/api/embed": routes.EMBEDDINGS,
    "/api/embeddings": routes.EMBEDDINGS,
    "/api/tags": "/v1/models",
    "/api/show": "/v1/models",
    "/api/ps": "/v1/models",
    "/generate": routes.COMPLETIONS,
    "/generate_stream": routes.COMPLETIONS,
    "/embed": routes.EMBEDDINGS,
    "/v1/complete": routes.MESSAGES,
}
"""Paths of other servers' own APIs, and what serves the same here."""

_CLOSE = 0.85


def hint(path: str, served: Iterable[Route]) -> str:
    """A sentence that names the path which the client may have meant; empty where nothing is near.

    Args:
        path: of the request, as it came.
        served: the engine's routes.
    """
    paths = {route.path for route in served}
    if path in _FOREIGN:
        equivalent = _FOREIGN[path]
        if equivalent in paths:
            return f"That path is of another API; here {equivalent} does the same, in OpenAI's or Anthropic's form."
    meant = nearest(path, paths)
    return f"Did you mean {meant}?" if meant else ""


def nearest(path: str, served: Iterable[str]) -> str | None:
    """The served path that `path` is a slip of: slashes, `/v1` left out or twice, a letter or two; None for none.

    served: literal paths, or such that end in `/*`, of which a slip before the `*` is found.
    """
    names = [name for name in path.split("/") if name]
    while names and names[0] in _PREFIXES:
        names.pop(0)
    if not names:
        return None
    literal = {name for name in served if not name.endswith("/*")}
    rest = "/" + "/".join(names)
    for candidate in (f"/v1{rest}", rest):
        if candidate in literal and candidate != path:
            return candidate
        parent = candidate.rpartition("/")[0]
        if f"{parent}/*" in served and candidate != path:
            return candidate
    close = get_close_matches(f"/v1{rest}", literal, n=1, cutoff=_CLOSE) or get_close_matches(
        rest, literal, n=1, cutoff=_CLOSE
    )
    return close[0] if close else None
