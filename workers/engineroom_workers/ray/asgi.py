"""What Serve calls for each request, and at the replica's end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, at_head
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

_NO_DRAIN = (
    "Ray Serve drains its replicas itself, when it removes one: scale the deployment down. A replica that drained by "
    "itself would still be sent requests."
)


class ReplicaApp:
    """Between Serve and the layers: the few things in which Serve is another server than ours.

    * Requests come on the loop on which the engine was started, or not at all: the engine's contract demands it.
    * Serve prefixes paths with the application's `route_prefix`, and names that in `root_path`.
    * Serve adds the request's id to a response itself.
    * The peer of a connection is a proxy of Serve's on this machine, and says nothing of whoever asks.

    Args:
        app: the layers around the engine.
        local: whether only programs on this machine reach the proxies.
        close: done at the replica's end, before Serve ends the process.
    """

    def __init__(self, app: ASGIApp, local: bool, close: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._local = local
        self._close = close
        self._loop = asyncio.get_running_loop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("Ray Serve called the app on another loop than the one that its constructor ran on")
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003, "reason": "There are no WebSockets here."})
        elif scope["path"].endswith("/drain"):
            await error_response(send, scope, APIError(_NO_DRAIN, status=404, code="serve_drains"))
        else:
            await self._app(self._inner_scope(scope), receive, _without_request_id(send))

    def _inner_scope(self, scope: Scope) -> Scope:
        inner = {**scope}
        prefix = scope.get("root_path", "")
        if prefix and scope["path"].startswith(prefix):
            inner["path"] = scope["path"][len(prefix) :] or "/"
            inner["root_path"] = ""
        if not self._local:
            inner["client"] = None
        return inner

    async def _live(self, receive: Receive, send: Send) -> None:
        """Serve's word that the replica begins, and later that it ends."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                break
            await send({"type": "lifespan.startup.complete"})
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})


def _without_request_id(send: Send) -> Send:
    def send_head(message: Message) -> Awaitable[None]:
        headers = [(name, value) for name, value in message.get("headers", ()) if name != b"x-request-id"]
        return send({**message, "headers": headers})

    return at_head(send, send_head)
