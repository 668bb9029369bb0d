"""Admission: a request goes to the engine when it is its turn."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from engineroom.asgi import ASGIApp, Receive, Scope, Send

from .call import Refusing, call_of
from .gone import disconnected

if TYPE_CHECKING:
    from .turns import Turn, Turns


class Admission(Refusing):
    """Holds requests until it is their turn; one whose client leaves meanwhile gives its place up.

    Args:
        per_key: how many turns a key may have at a time, where the key itself does not say.
        timeout: seconds one may wait.
    """

    def __init__(self, app: ASGIApp, turns: Turns, per_key: int | None, timeout: float) -> None:
        super().__init__(app)
        self._turns = turns
        self._per_key = per_key
        self._timeout = timeout

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # Lists of models and the like cost the engine nothing.
            await self.app(scope, receive, send)
            return
        call = call_of(scope)
        turn = self._turns.enter(call.key.name, call.key.concurrency or self._per_key, call.key.priority)
        try:
            if not turn.granted.done():
                asked = time.perf_counter()
                try:
                    if not await self._came(turn, receive):
                        return
                finally:
                    call.queued = time.perf_counter() - asked
            await self.app(scope, receive, send)
        finally:
            turn.leave()

    async def _came(self, turn: Turn, receive: Receive) -> bool:
        """Whether its turn came before its client left."""
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait({turn.granted, gone}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        if turn.granted.done():
            turn.granted.result()
            return True
        if gone.cancelled():
            raise self._turns.busy(f"this request's turn did not come within {self._timeout:g} s")
        return False
