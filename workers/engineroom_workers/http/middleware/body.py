"""Reads each request whole before anything is decided about it."""

from __future__ import annotations

from engineroom.asgi import ASGIApp, Receive, Scope, Send, header
from engineroom.errors import APIError
from engineroom.openai.body import Request, read_request
from engineroom.openai.heartbeats import HeartbeatStream
from engineroom.openai.routes import STREAMING_ROUTES

from .base import ErrorMiddleware, Resources
from .context import OTHER_ROUTE, RequestContext, get_context


class BodyMiddleware(ErrorMiddleware):
    """Refuses with a 415 what is compressed, and with a 413 what is too large. What does not arrive in time, or finds
    no room, the protocol refuses. Notes in the context which model a request is for. From here on a request may wait,
    for its turn or for the engine: the response to one that streams gets heartbeats.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._engine = resources.engine
        self._max_body = resources.options.worker.max_body
        self._heartbeat = resources.options.http.stream_heartbeat

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = get_context(scope)
        if context.route == OTHER_ROUTE:
            # What the engine does not serve is a 404, whatever its body is.
            await self.app(scope, receive, send)
            return
        encoding = header(scope, b"content-encoding") or b"identity"
        if encoding.lower() != b"identity":
            raise APIError(
                f"The request's body must not be compressed (content-encoding {encoding.decode('latin-1')!r}).",
                status=415,
                code="unsupported_content_encoding",
            )
        request = await read_request(scope, receive, self._max_body)
        context.model = self._model(request)
        if self._heartbeat and _streams(request, context.route):
            await self._serve_stream(context, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve_stream(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        stream = HeartbeatStream(scope["path"], send, self._heartbeat)
        try:
            await self.app(scope, receive, stream.send)
        finally:
            await stream.close()
            # The client has had a 200 by then; metrics and logs are to know of the failure all the same.
            context.status = stream.late_status or context.status

    def _model(self, request: Request) -> str:
        """The served model that a request is for, the first where it names none; empty for one that is not served.

        Metrics have a time series for each: what clients invent must not make new ones.
        """
        if request.json is None:
            return ""
        model = request.json.get("model") or next(iter(self._engine.models), None)
        return model if isinstance(model, str) and self._engine.knows_model(model) else ""


def _streams(request: Request, route: str) -> bool:
    """Whether a request is to be answered by events."""
    return route in STREAMING_ROUTES and request.json is not None and request.json.get("stream") is True
