"""What a client may have meant by a path that is not served.

We answer with a 404 and this hint, and do not serve the path that was meant: a proxy in front of the door may allow
and forbid by path, and `//metrics` must not pass where `/metrics` may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from ..engine import SURFACE_PATHS, Route
from . import routes
from .model_list import LIST

_VERSION = re.compile(r"v\d+\w*")
"""A segment with which base URLs end: a client that adds one to a base URL doubles it."""

_FOREIGN = {
    "/api/chat": routes.CHAT_COMPLETIONS,
    "/api/generate": routes.COMPLETIONS,
    "/api/embed": routes.EMBEDDINGS,
    "/api/embeddings": routes.EMBEDDINGS,
    "/api/tags": LIST,
    "/api/show": LIST,
    "/api/ps": LIST,
    "/chat": routes.CHAT_COMPLETIONS,
    "/generate": routes.COMPLETIONS,
    "/generate_stream": routes.COMPLETIONS,
    "/embed": routes.EMBEDDINGS,
    "/complete": routes.MESSAGES,
    ":generatecontent": routes.CHAT_COMPLETIONS,
    ":streamgeneratecontent": routes.CHAT_COMPLETIONS,
    ":embedcontent": routes.EMBEDDINGS,
    ":counttokens": routes.COUNT_TOKENS,
}
"""Paths of other servers' own APIs without a version, or how they end, and what serves the same here."""

_OF_NO_WORKER = frozenset({"blobs", "copy", "create", "delete", "me", "pull", "push", "version"})
"""What others have under `/api`, to manage models, and nothing here does."""

_CLOSE = 0.85


def hint(path: str, served: Iterable[Route]) -> str:
    """A sentence that names the path which the client may have meant; empty where nothing is near.

    Args:
        path: of the request, as it came.
        served: the engine's routes.
    """
    paths = {route.path for route in served}
    names = [name for name in path.lower().split("/") if name]
    equivalent = _equivalent(names)
    if equivalent in paths:
        return f"That path is of another API; here {equivalent} does the same, in OpenAI's or Anthropic's form."
    if path in SURFACE_PATHS.values():
        return "This engine, or its model, does not serve it; `engineroom engines` lists the engines that do."
    meant = nearest(path, paths)
    if meant:
        return f"Did you mean {meant}?"
    if names[:1] == ["api"] and names[1:2] and names[1] in _OF_NO_WORKER and LIST in paths:
        return f"That path is of another API. A worker serves the model that it was started with, as {LIST} lists it."
    return ""


def _equivalent(names: list[str]) -> str | None:
    """The path that does the same as another API's."""
    while names and _VERSION.fullmatch(names[0]):
        names = names[1:]
    action = ":" + names[-1].rpartition(":")[2] if names else ""
    return _FOREIGN.get("/" + "/".join(names)) or _FOREIGN.get(action)


def nearest(path: str, served: Iterable[str]) -> str | None:
    """The served path that `path` is a slip of; None for none.

    Slips are slashes, capitals, `/v1` left out or twice, what other services have in front of it
    (`/openai/deployments/NAME`, `/anthropic`), and a letter or two.

    served: literal paths, or such that end in `/*`, of which a slip before the `*` is found.
    """
    names = [name for name in path.split("/") if name]
    literal = {name for name in served if not name.endswith("/*")}
    for start in range(len(names)):
        rest = "/" + "/".join(names[start:])
        for candidate in (f"/v1{rest}", rest):
            if candidate.lower() in literal and candidate.lower() != path:
                return candidate.lower()
            parent = candidate.rpartition("/")[0]
            if f"{parent}/*" in served and candidate != path:
                return candidate
    while names and (names[0] in ("openai", "api") or _VERSION.fullmatch(names[0])):
        names.pop(0)
    rest = "/" + "/".join(names)
    close = get_close_matches(f"/v1{rest}", literal, n=1, cutoff=_CLOSE) or get_close_matches(
        rest, literal, n=1, cutoff=_CLOSE
    )
    return close[0] if close else None
