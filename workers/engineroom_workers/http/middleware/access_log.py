"""One line of log for each request: who asked what kind of thing, how it ended, how long it took."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from engineroom.asgi import Scope
from engineroom.logs import Event
from engineroom.openai.body import KEY, Request

from ..context import RequestContext

logger = logging.getLogger(__name__)

_LONGEST = 4000


class AccessLog:
    """Writes it. Never a key, and no content unless `content`.

    Args:
        content: whether what was asked is written too, up to 4000 characters of it.
    """

    def __init__(self, content: bool) -> None:
        self._content = content

    def write(self, scope: Scope, call: RequestContext, status: int, now: float) -> None:
        fields: dict[str, Any] = {
            "request_id": call.id,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "key": call.key.name,
            "model": call.model,
            "seconds": round(now - call.started, 4),
            "queue_seconds": round(call.queued, 4),
            "prompt_tokens": call.prompt_tokens,
            "completion_tokens": call.completion_tokens,
        }
        if call.cache:
            fields["cache"] = call.cache
        request: Request | None = scope.get(KEY)
        if self._content and request is not None and request.json is not None:
            fields["content"] = msgspec.json.encode(request.json).decode()[:_LONGEST]
        logger.info(Event("request", **fields))
