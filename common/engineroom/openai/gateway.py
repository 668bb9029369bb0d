"""What stands in front of every engine: what can be refused without it, and who notices that a client has gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from ..asgi.disconnect import ClientDisconnected
from ..asgi.types import ASGIApp, Message, Receive, Scope, Send, header
from ..errors import APIError, engine_dead
from .body import Request, read_request
from .errors import error_event, error_response
from .model_list import ModelList

if TYPE_CHECKING:
    from ..engine import Engine

logger = logging.getLogger(__name__)


class Front:
    """The ASGI app that a door talks to.

    It answers for the engine: 404 and 405 for routes that it does not serve, 503 while it loads and when it is
    dead, 413 for a body that is too large, 400 for one that is not a JSON object, 404 for an unknown model, 504
    when a request outlasts its time. The list of models is completed, and has a URL for each. All else goes to
    `inner`, which is cancelled when the client disconnects.

    Args:
        engine: asked for its routes, models and health.
        inner: called with `scope["engineroom.request"]` set; it may raise APIError, before or amid its answer.
        max_body: largest body in bytes.
        timeout: seconds that one request may take in all.
    """

    def __init__(self, engine: Engine, inner: ASGIApp, max_body: int = 32_000_000, timeout: float = 3600) -> None:
        self._engine = engine
        self._inner = ModelList(inner, engine)
        self._max_body = max_body
        self._timeout = timeout
        self._closed: asyncio.Event | None = None
        self._why_closed: APIError | None = None

    def close(self, why: APIError | None = None) -> None:
        """End what is running: each client is told why, by default that the server is shutting down.

        Closing it again changes nothing: the first reason is the one that counts.
        """
        if self._why_closed is None:
            self._why_closed = why or APIError(
                "The server is shutting down.", status=503, code="shutting_down", retry_after=1
            )
        if self._closed is not None:
            self._closed.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        try:
            self._check_route(scope)
            self._check_health()
            self._check_model(await read_request(scope, receive, self._max_body))
            await self._serve(scope, receive, answer)
        except ClientDisconnected:
            return
        except APIError as error:
            await answer.fail(scope, error)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            await answer.fail(scope, APIError("The server had an error while processing your request.", status=500))

    def _check_route(self, scope: Scope) -> None:
        path, method = scope["path"], scope["method"]
        allowed = {route.method for route in self._engine.routes if route.matches(path)}
        if not allowed:
            raise APIError(f"Invalid URL ({method} {path})", status=404)
        if method not in allowed:
            raise APIError(
                f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
                status=405,
                code="method_not_supported",
                allow=allowed,
            )

    def _check_health(self) -> None:
        health = self._engine.health()
        if health.ready:
            return
        if health.live:
            raise APIError(
                f"The model is not ready yet: {health.reason}.", status=503, code="engine_loading", retry_after=2
            )
        raise engine_dead(health.reason)

    def _check_model(self, request: Request) -> None:
        if request.json is None:
            return
        # OpenAI requires a model; here, where there is one, leaving it out can only mean that one.
        if "model" not in request.json and self._engine.models:
            request.json["model"] = self._engine.models[0]
            request.body = msgspec.json.encode(request.json)
        model = request.json.get("model")
        if model is None:
            return
        if not isinstance(model, str):
            raise APIError("Invalid type for 'model': expected a string.", param="model", code="invalid_type")
        if not self._engine.knows_model(model):
            served = ", ".join(f"`{name}`" for name in self._engine.models)
            raise APIError(
                f"The model `{model}` does not exist; served here: {served}.",
                status=404,
                param="model",
                code="model_not_found",
            )

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if self._closed is None:
            self._closed = asyncio.Event()
        work = asyncio.ensure_future(self._inner(scope, receive, answer.send))
        gone = asyncio.ensure_future(_disconnected(receive))
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({work, gone, closed}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            elif closed.done() and self._why_closed is not None:
                raise self._why_closed
            elif not gone.done():
                raise APIError(f"The request took longer than {self._timeout:g} s.", status=504, code="timeout")
        finally:
            for task in (work, gone, closed):
                task.cancel()
            await asyncio.gather(work, gone, closed, return_exceptions=True)


class _Answer:
    """A response under way: knows how an error can still be told."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started: Message | None = None
        self._complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = message
        elif not message.get("more_body"):
            self._complete = True
        await self._send(message)

    async def fail(self, scope: Scope, error: APIError) -> None:
        if self._started is None:
            await error_response(self._send, scope, error)
        elif not self._complete:
            if not (header(self._started, b"content-type") or b"").startswith(b"text/event-stream"):
                # Nothing can be said inside such a body; a broken connection tells the client that it is not whole.
                raise error
            await self._send({"type": "http.response.body", "body": b"\n\n" + error_event(error, scope["path"])})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
