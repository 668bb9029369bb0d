"""A route that the door answers itself."""

from __future__ import annotations

from starlette.routing import Route

from engineroom.asgi import Receive, Scope, Send
from engineroom.errors import APIError
from engineroom.openai.errors import error_response

from .call import with_headers


class OwnRoute(Route):
    """Starlette's, but a wrong method is told in the API's own form."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            allowed = ", ".join(sorted(self.methods))
            error = APIError(
                f"Not allowed to {scope['method']} on {scope['path']}: {allowed}.",
                status=405,
                code="method_not_supported",
            )
            await error_response(with_headers(send, [(b"allow", allowed.encode())]), scope, error)
            return
        await super().handle(scope, receive, send)
