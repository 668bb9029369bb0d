"""One line of log for each request: who asked what kind of thing, how it ended, how long it took."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.asgi import ASGIApp, Receive, Scope, Send
from engineroom.logs import Event
from engineroom.openai.body import get_request
from engineroom.openai.usage import get_usage

from .base import Middleware, Resources
from .context import CLIENT_CLOSED_REQUEST, get_context

if TYPE_CHECKING:
    from ..options import Options

logger = logging.getLogger(__name__)

_MAX_CONTENT_LENGTH = 4000


class AccessLogMiddleware(Middleware):
    """Writes a line when a request is over. Never a key, and no content unless LOG_CONTENT asks for it.

    With LOG_CONTENT a line also has what was asked, up to 4000 characters of it.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._content = resources.options.observe.log_content

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.observe.access_log

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        usage = get_usage(scope)  # Before others copy the scope: they shall count into this one.
        try:
            await self.app(scope, receive, send)
        finally:
            context = get_context(scope)
            fields: dict[str, Any] = {
                "request_id": context.id,
                "method": scope["method"],
                "path": scope["path"],
                "status": context.status or CLIENT_CLOSED_REQUEST,
                "key": context.key.name,
                "model": context.model,
                "seconds": round(time.perf_counter() - context.started, 4),
                "queue_seconds": round(context.queued, 4),
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
            }
            if context.cache:
                fields["cache"] = context.cache
            request = get_request(scope)
            if self._content and request is not None and request.json is not None:
                fields["content"] = msgspec.json.encode(request.json).decode()[:_MAX_CONTENT_LENGTH]
            logger.info(Event("request", **fields))
