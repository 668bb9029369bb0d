"""What the door knows of one request; each middleware adds what it learns, metrics and logs read it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engineroom.asgi import Scope

from .middleware.api_keys import ANONYMOUS, Key

_LONGEST_ID = 128
OPEN = frozenset({"/ping", "/health"})
"""Routes of the door that everybody may ask, whatever is switched on: a platform's health checks have no key."""
OWN = OPEN | {"/metrics", "/metrics.json", "/", "/settings.json"}
"""Routes that the door answers itself; they are not counted, limited or kept."""


@dataclass(slots=True)
class RequestContext:
    """One request.

    id: the client's `x-request-id`, or one of ours.
    started: by `time.perf_counter`.
    queued: seconds it waited for its turn.
    cache: `hit`, `miss`, … where the cache was asked.
    prompt_tokens, completion_tokens: as far as the answer told them, once `settle` was called.
    settle: counts them, when the answer is over.
    """

    id: str
    key: Key = ANONYMOUS
    model: str = ""
    started: float = field(default_factory=time.perf_counter)
    queued: float = 0.0
    cache: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    settle: Callable[[], None] = lambda: None


def get_context(scope: Scope) -> RequestContext:
    """The scope's call; made now where there is none. Its id goes with the request to the engine."""
    call: RequestContext | None = scope.get("engineroom.context")
    if call is None:
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        usable = bool(given) and _is_id(given[0])
        call = scope["engineroom.context"] = RequestContext(
            given[0].decode() if usable else f"req_{secrets.token_hex(16)}"
        )
        if not usable or len(given) > 1:
            others = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
            scope["headers"] = [*others, (b"x-request-id", call.id.encode())]
    return call


def _is_id(given: bytes) -> bool:
    return 0 < len(given) <= _LONGEST_ID and given.isascii() and given.decode("ascii").isprintable()
