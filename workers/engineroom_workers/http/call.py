"""What the door knows of one request; each middleware adds what it learns, metrics and logs read it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engineroom.asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from .keys import ANONYMOUS, Key

logger = logging.getLogger(__name__)

_LONGEST_ID = 128
OPEN = frozenset({"/ping", "/health"})
"""Routes of the door that everybody may ask, whatever is switched on: a platform's health checks have no key."""
OWN = OPEN | {"/metrics", "/metrics.json", "/", "/settings.json"}
"""Routes that the door answers itself; they are not counted, limited or kept."""


@dataclass(slots=True)
class Call:
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


def call_of(scope: Scope) -> Call:
    """The scope's call; made now where there is none. Its id goes with the request to the engine."""
    call: Call | None = scope.get("engineroom.call")
    if call is None:
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]
        usable = bool(given) and _is_id(given[0])
        call = scope["engineroom.call"] = Call(given[0].decode() if usable else f"req_{secrets.token_hex(16)}")
        if not usable or len(given) > 1:
            others = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
            scope["headers"] = [*others, (b"x-request-id", call.id.encode())]
    return call


def _is_id(given: bytes) -> bool:
    return 0 < len(given) <= _LONGEST_ID and given.isascii() and given.decode("ascii").isprintable()


class Refusing:
    """Base of middleware that may refuse: an APIError raised before the answer begins becomes the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OWN:
            await self.app(scope, receive, send)
            return
        try:
            await self.serve(scope, receive, send)
        except APIError as error:
            await error_response(send, scope, error)
        except Exception:
            # A mistake of ours, or of a service behind us. Where the answer has begun the server breaks it off.
            logger.exception("%s %s failed", scope["method"], scope["path"])
            failed = APIError("The server had an error while processing your request.", status=500)
            await error_response(send, scope, failed)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or raise APIError before anything is sent."""
        raise NotImplementedError


def with_headers(send: Send, headers: Iterable[tuple[bytes, bytes]]) -> Send:
    """`send`, its response starting with more headers. `headers` is read when the response starts."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            more: Headers = list(headers)
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending
