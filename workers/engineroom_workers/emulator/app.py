"""The emulator as one ASGI app: who may speak, and to which side."""

from __future__ import annotations

import hmac

from starlette.routing import Mount, Router

from engineroom.asgi import Receive, Scope, Send, header

from .http import send_error
from .limits import Limiter
from .platform import Emulator
from .routes.admin import Admin
from .routes.client import ClientSide
from .routes.openai import OpenAISide
from .routes.worker import WorkerSide


class EmulatorApp:
    """`/v2/<id>/...` for clients and workers, `/emulator/...` for whoever runs it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._prefix = f"/v2/{emulator.options.endpoint_id}/"
        self._worker = WorkerSide(emulator)
        self._openai = OpenAISide(emulator)
        self._limiter = Limiter() if emulator.options.limits else None
        client = Mount(self._prefix.rstrip("/"), routes=ClientSide(emulator).routes())
        self._router = Router([client, *Admin(emulator).routes()])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(self._prefix):
            rest = path[len(self._prefix) :]
            if handler := self._worker.find(scope["method"], rest.split("/")):
                await handler(scope, receive, send, rest.split("/"))
                return
            if not self._allowed(scope):
                await send_error(send, 401, "the API key is missing or wrong")
                return
            await self._limited(scope, receive, send, rest)
        else:
            await self._router(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, rest: str) -> None:
        operation = rest.split("/")[0]
        if self._limiter is None:
            await self._client(scope, receive, send, rest)
        elif self._limiter.enter(operation, len(self.emulator.queue), len(self.emulator.fleet.workers)):
            try:
                await self._client(scope, receive, send, rest)
            finally:
                self._limiter.leave(operation)
        else:
            await send_error(send, 429, f"too many requests to {operation}")

    async def _client(self, scope: Scope, receive: Receive, send: Send, rest: str) -> None:
        if rest.startswith("openai/"):
            await self._openai(scope, receive, send, rest.removeprefix("openai"))
        else:
            await self._router(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        """Whether the client sent the key, with or without `Bearer`: RunPod's documentation shows both."""
        key = self.emulator.options.api_key
        if key is None:
            return True
        sent = header(scope, b"authorization") or b""
        if sent[:7].lower() == b"bearer ":
            sent = sent[7:]
        return hmac.compare_digest(sent.strip(), key.encode())
