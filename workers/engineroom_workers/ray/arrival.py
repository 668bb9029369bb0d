"""The limits on how a request arrives that the HTTP door's own server has, and Serve's has not."""

from __future__ import annotations

import asyncio

from engineroom.asgi import RESERVATION, ASGIApp, Message, Receive, Scope, Send
from engineroom.timeouts import timeout

from ..http.protocol import RequestMemory, Reservation, check_pieces, decoded_bytes, late


class Arrival:
    """Gives each body BODY_TIMEOUT to arrive in pieces that are not too many, and as much of REQUEST_MEMORY_MB as it
    takes until its request runs.

    Args:
        app: the layers, which answer the errors.
        memory: for requests that do not run yet.
        timeout: seconds.
    """

    def __init__(self, app: ASGIApp, memory: RequestMemory, timeout: float) -> None:
        self._app = app
        self._memory = memory
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reservation = Reservation(self._memory)
        scope[RESERVATION] = reservation
        try:
            await self._app(scope, self._limited(receive, reservation), send)
        finally:
            reservation.release()

    def _limited(self, receive: Receive, reservation: Reservation) -> Receive:
        deadline = asyncio.get_running_loop().time() + self._timeout
        arrived = False
        pieces = 0
        size = 0

        async def receive_limited() -> Message:
            nonlocal arrived, pieces, size
            if arrived:
                return await receive()
            remaining = deadline - asyncio.get_running_loop().time()
            try:
                async with timeout(remaining):
                    message = await receive()
            except asyncio.TimeoutError:
                raise late(self._timeout) from None
            if message["type"] != "http.request":
                return message
            arrived = not message.get("more_body", False)
            body = message.get("body", b"")
            pieces += 1
            size += len(body)
            check_pieces(pieces, size)
            self._hold(reservation, body)
            return message

        return receive_limited

    def _hold(self, reservation: Reservation, body: bytes) -> None:
        size = reservation.held + decoded_bytes(body)
        if not reservation.hold(size):
            raise self._memory.refusal(size)()
