"""What middleware of the door has in common: how it refuses, and how it adds headers."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from engineroom.asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from ..context import OWN

logger = logging.getLogger(__name__)


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
