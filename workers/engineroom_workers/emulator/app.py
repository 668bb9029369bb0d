"""The emulator as one ASGI app: it decides who may speak, and to which routes."""

from __future__ import annotations

import hmac

from starlette.routing import Mount, Router

from engineroom.asgi import Receive, Scope, Send, header

from .http import send_error
from .limits import RequestLimiter
from .platform import Emulator
from .routes.admin import AdminRoutes
from .routes.batch import BatchRoutes
from .routes.client import ClientRoutes
from .routes.openai import OpenAIRoutes
from .routes.worker import WorkerRoutes


class EmulatorApp:
    """`/v2/<id>/...` for workers and clients, `/emulator/...` for whoever runs the emulator.

    Workers need no key. Their routes come first and without Starlette's router, because they are the busy ones.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._prefix = f"/v2/{emulator.options.endpoint_id}/"
        self._worker_routes = WorkerRoutes(emulator)
        self._openai_routes = OpenAIRoutes(emulator)
        self._limiter = RequestLimiter() if emulator.options.limits else None
        routes = [*ClientRoutes(emulator).routes(), *BatchRoutes(emulator).routes()]
        client_routes = Mount(self._prefix.rstrip("/"), routes=routes)
        self._router = Router([client_routes, *AdminRoutes(emulator).routes()])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"] if scope["type"] == "http" else ""
        if not path.startswith(self._prefix):
            await self._router(scope, receive, send)
            return
        route = path.removeprefix(self._prefix)
        segments = route.split("/")
        worker_handler = self._worker_routes.find(scope["method"], segments)
        if worker_handler is not None:
            await worker_handler(scope, receive, send, segments)
        elif self.emulator.retired:
            await send_error(send, 404, "the endpoint is deleted")
        elif not self._authorized(scope):
            await send_error(send, 401, "the API key is missing or wrong")
        else:
            await self._limit_client(scope, receive, send, route)

    async def _limit_client(self, scope: Scope, receive: Receive, send: Send, route: str) -> None:
        """Serve a client's request unless it is over a limit."""
        if self._limiter is None:
            await self._serve_client(scope, receive, send, route)
            return
        operation = route.split("/")[0]
        if not self._limiter.enter(operation, len(self.emulator.queue), len(self.emulator.workers.by_id)):
            await send_error(send, 429, f"too many requests to {operation}")
            return
        try:
            await self._serve_client(scope, receive, send, route)
        finally:
            self._limiter.leave(operation)

    async def _serve_client(self, scope: Scope, receive: Receive, send: Send, route: str) -> None:
        if route.startswith("openai/"):
            await self._openai_routes(scope, receive, send, route.removeprefix("openai"))
        else:
            await self._router(scope, receive, send)

    def _authorized(self, scope: Scope) -> bool:
        """Whether the client sent the key, with or without `Bearer`: RunPod's documentation shows both."""
        key = self.emulator.options.api_key
        if key is None:
            return True
        sent = header(scope, b"authorization") or b""
        if sent[:7].lower() == b"bearer ":
            sent = sent[7:]
        return hmac.compare_digest(sent.strip(), key.encode())
