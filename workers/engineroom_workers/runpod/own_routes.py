"""The door's own routes as jobs: what the HTTP door says at the same path, as far as it makes sense on a queue."""

from __future__ import annotations

from typing import Any

from engineroom.engine import RunningEngine
from engineroom.errors import APIError

_ANSWERED = ("/health", "/metrics", "/ping")

_OF_HTTP_ALONE = frozenset({"/", "/metrics.json", "/settings.json"})
"""What only the HTTP door has: pages for people, and what its layers measure."""

PATHS = frozenset(_ANSWERED) | _OF_HTTP_ALONE
"""Paths that are this door's business, where the engine has not got them itself."""


async def answer(path: str, method: str, engine: RunningEngine) -> Any:
    """What a path of ours says of this worker: `/health` an object, `/ping` a word, `/metrics` the engine's own text.

    Raises:
        APIError: 405 for anything but a GET, 404 for what only the HTTP door has.
    """
    if path in _OF_HTTP_ALONE:
        raise APIError(
            f"'{path}' is a route of the HTTP door (engineroom serve) alone; here are {', '.join(_ANSWERED)} and the "
            "engine's own routes.",
            status=404,
            param="route",
        )
    if method != "GET":
        raise APIError(f"Not allowed to {method} on {path}: GET.", status=405, code="method_not_supported")
    if path == "/metrics":
        return await engine.metrics()
    if path == "/ping":
        health = engine.health()
        return "ready" if health.ready else health.reason
    return engine.report()
