"""The gateway in front of every engine: it refuses what needs no engine, and notices clients that leave."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Iterable
from typing import Protocol

from ..asgi.disconnect import ClientDisconnected, InterruptibleRequest, RequestTimeoutError
from ..asgi.fast_path import FastPath, fast_path
from ..asgi.types import HANDOVER, ASGIApp, Headers, Message, Receive, Scope, Send, header
from ..engine import Engine, Route
from ..errors import APIError, drop_tracebacks, engine_dead
from .body import Request, read_request
from .capability_check import check_capabilities, check_prompt
from .errors import error_event, error_response, request_id
from .limits import NO_LIMITS, ORDINARY, RequestLimits, check_fields, check_text
from .model_list import LIST, ModelList
from .path_hints import hint
from .routes import MESSAGES, RESPONSES
from .usage_counter import UsageCounter

logger = logging.getLogger(__name__)

_MADE_OF_CHAT = (RESPONSES, MESSAGES)
"""Beginnings of the paths that the core answers of an engine's chat, where the engine does not itself."""


class Handover(Protocol):
    """What a scope may carry as `HANDOVER`: it has another process ask the engine's server (`Engine.share`)."""

    def suits(self, scope: Scope, engine: Engine) -> bool:
        """Whether it serves a checked request in place of the engine's own app."""
        ...

    async def serve(self, scope: Scope, receive: Receive, send: Send, engine: Engine) -> None:
        """Serve it. May raise APIError, before its response has started or amid it."""
        ...


class Gateway:
    """The ASGI app that a door talks to.

    It answers for the engine: 404 and 405 for routes that the engine does not serve, 503 while the engine loads and
    once it is dead, 413 for a body that is too large, 400 for one that is not a JSON object, 404 for an unknown
    model, 400 for what the engine does not declare among its capabilities or what is beyond a limit, 504 for a request
    that outlasts its time.
    It completes the list of models and gives each model a URL, and makes Responses and Messages of the engine's chat
    where the engine has not got them itself. A HEAD is answered as the GET would be, without its body. Every other
    request goes to `inner`, which the gateway cancels when the client disconnects.

    Args:
        engine: asked for its routes, models, health and capabilities.
        inner: called once the request is read (`checked_request(scope)`); it may raise APIError, before its response
            has started or amid it.
        max_body: largest body in bytes.
        timeout: seconds that one request may take in all.
        counts_usage: whether `inner` itself writes the tokens of its responses to `get_usage(scope)`. Where it does
            not, the gateway counts them as the responses go by.
        limits: what a request may ask for.

    work: what the engine is at.
    """

    def __init__(
        self,
        engine: Engine,
        inner: ASGIApp,
        max_body: int = 32_000_000,
        timeout: float = 3600,
        *,
        counts_usage: bool = False,
        limits: RequestLimits = NO_LIMITS,
    ) -> None:
        self._engine = engine
        self._inner = inner if counts_usage else UsageCounter(inner)
        self._model_list = ModelList(inner, engine)
        self._max_body = max_body
        self._timeout = timeout
        self._limits = limits
        self._surfaces: ASGIApp | None = None
        self._running: set[InterruptibleRequest] = set()
        self._reason: APIError | None = None
        self.work = Work()

    def close(self, reason: APIError | None = None) -> None:
        """End the requests that are running, and those that still come: their clients get `reason` as their error.

        The default reason is that the server is shutting down. A second call changes nothing: the first reason counts.
        """
        if self._reason is not None:
            return
        self._reason = reason or APIError(
            "The server is shutting down.", status=503, code="shutting_down", retry_after=1
        )
        for request in list(self._running):
            request.end(self._reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = self.work if _generates(scope) else Work()
        response = ResponseTracker(send, work)
        try:
            check_route(scope, self._engine.served_routes)
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}
                response = ResponseTracker(without_body(send), work)
            self._check_health()
            request = await read_request(scope, receive, self._max_body)
            await self._check_model(request)
            if request.json is not None:
                check_capabilities(scope["path"], request.json, self._engine.capabilities)
                check_prompt(request.json, self._limits)
                # A text has no more characters than its bytes in JSON.
                if 0 < self._limits.max_prompt_characters < request.size:
                    check_text(request.json, self._limits)
                if not request.json.keys() <= ORDINARY:
                    check_fields(scope["path"], request.json, self._limits)
            await self._serve(scope, receive, response)
        except ClientDisconnected as error:
            drop_tracebacks(error)
        except APIError as error:
            drop_tracebacks(error)
            await response.fail(scope, error)
        except Exception as error:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            drop_tracebacks(error)
            await response.fail(scope, APIError("The server had an error while processing your request.", status=500))

    def _check_health(self) -> None:
        health = self._engine.health()
        if health.ready:
            return
        if health.live:
            raise APIError(
                f"The model is not ready yet: {health.reason}.", status=503, code="engine_loading", retry_after=2
            )
        raise engine_dead(health.reason)

    async def _check_model(self, request: Request) -> None:
        if request.json is None:
            return
        # OpenAI requires a model; here, where there is one, leaving it out can only mean that one.
        if "model" not in request.json and self._engine.models:
            request.set_field("model", self._engine.models[0])
        model = request.json.get("model")
        if model is None:
            return
        if not isinstance(model, str):
            raise model_not_text()
        if not self._engine.knows_model(model) and not await self._engine.find_model(model):
            raise unknown_model(model, self._engine.models)

    async def _serve(self, scope: Scope, receive: Receive, response: ResponseTracker) -> None:
        if self._reason is not None:
            raise self._reason
        if scope["path"].startswith(MESSAGES):
            response.headers.append((b"request-id", request_id(scope)))
        self.work.running += 1
        running = InterruptibleRequest()
        self._running.add(running)
        try:
            await running.run(self._answer(scope, receive, response.send), scope, receive, self._timeout)
        except RequestTimeoutError as error:
            message = f"The request took longer than {self._timeout:g} s."
            raise APIError(message, status=504, code="timeout") from error
        finally:
            self._running.discard(running)
            self.work.running -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app(scope)
        handover: Handover | None = scope.get(HANDOVER)
        if handover is not None and app is self._inner and handover.suits(scope, self._engine):
            await handover.serve(scope, receive, send, self._engine)
        else:
            await app(scope, receive, send)

    def _app(self, scope: Scope) -> ASGIApp:
        """What answers a request: the engine itself, unless the core does."""
        path = scope["path"]
        if path == LIST or path.startswith(LIST + "/"):
            return self._model_list
        if not path.startswith(_MADE_OF_CHAT):
            return self._inner
        if not self._engine.capabilities.assumed and Route(scope["method"], path) in self._engine.routes:
            return self._inner
        if self._surfaces is None:
            from .surfaces.app import SurfacesApp

            self._surfaces = SurfacesApp(self._engine, self._inner)
        return self._surfaces


_OF_THE_FRONT = ("tokenize", "_tokens", "template", "_adapter", "lora-adapters")
"""How the paths end of what a server's front does by itself."""


def _generates(scope: Scope) -> bool:
    """Whether an answer shows that the engine generates: its front answers the rest, however its core hangs."""
    return scope["method"] == "POST" and not scope["path"].endswith(_OF_THE_FRONT)


def check_route(scope: Scope, routes: Collection[Route]) -> None:
    """Refuse what is none of the routes that are served.

    Raises:
        APIError: 404 for a path that there is not, 405 for a method that it has not.
    """
    path = scope["path"]
    method = scope["method"]
    if Route(method, path) in routes:
        return
    allowed = {route.method for route in routes if route.matches(path)}
    if not allowed:
        raise APIError(f"Invalid URL ({method} {path}). {hint(path, routes)}".rstrip(), status=404)
    if "GET" in allowed:
        allowed.add("HEAD")
    if method not in allowed:
        raise APIError(
            f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
            status=405,
            code="method_not_supported",
            allow=allowed,
        )


def unknown_model(name: str, served: Iterable[str]) -> APIError:
    """The error for a model that is not served, with the names of those that are."""
    names = ", ".join(f"`{each}`" for each in served)
    message = f"The model `{name}` does not exist; served here: {names}."
    return APIError(message, status=404, param="model", code="model_not_found")


def model_not_text() -> APIError:
    """The error for a `model` that is no text."""
    return APIError("Invalid type for 'model': expected a string.", param="model", code="invalid_type")


def without_body(send: Send) -> Send:
    """Passes on a response with nothing in it: what HEAD asks for (RFC 9110, 9.3.2)."""

    def send_empty(message: Message) -> Awaitable[None]:
        return send({**message, "body": b""} if message.get("body") else message)

    return send_empty


class Work:
    """What an engine is at, for its watchdog: running requests, and the pieces of answers that it has generated."""

    __slots__ = ("running", "sent")

    def __init__(self) -> None:
        self.running = 0
        self.sent = 0


class ResponseTracker:
    """How far a response has got, and so how its client can still learn of an error.

    headers: what a response from further in has beside its own.
    """

    __slots__ = ("_complete", "_generated", "_send", "_started", "_work", "headers")

    def __init__(self, send: Send, work: Work) -> None:
        self.headers: Headers = []
        self._work = work
        self._send = send
        self._started: Message | None = None
        self._complete = False
        self._generated = False

    def send(self, message: Message) -> Awaitable[None]:
        """Note a message, and pass it on. It is on the path of every token, and no coroutine: that is cheaper."""
        if message["type"] == "http.response.start":
            self._started = message
            if self.headers:
                message = {**message, "headers": [*message["headers"], *self.headers]}
            # An engine's front refuses by itself, and begins a stream before there is anything to stream.
            self._generated = message["status"] < 400
            return self._send(message)
        body = message.get("body", b"")
        # By a comment a server says that its front lives.
        self._work.sent += self._generated and body[:1] != b":"
        if not message.get("more_body"):
            self._complete = True
        return self._send(message)

    def fast_path(self) -> FastPath | None:
        """A path for pieces that are only counted here."""
        fast = fast_path(self._send) if self._generated else None
        if fast is not None:
            fast.count(self._work)
        return fast

    async def fail(self, scope: Scope, error: APIError) -> None:
        """Send the error: as the response, or as an event of a stream that has started.

        Raises:
            APIError: the error itself, amid a response that has no place for one. The server then breaks the
                connection, which tells the client that the response is not whole.
        """
        if self._started is None:
            await error_response(self._send, scope, error)
        elif not self._complete:
            if not (header(self._started, b"content-type") or b"").startswith(b"text/event-stream"):
                raise error
            await self._send({"type": "http.response.body", "body": b"\n\n" + error_event(error, scope["path"])})
