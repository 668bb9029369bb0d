"""A response of an app that may be dead: its error is held back, as long as nothing else was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .fast_path import FastPath, fast_path
from .types import SENT, Message, Send


class HeldResponse:
    """Passes on a response, but for the error of an app that is dead: another app may answer in its place.

    Args:
        is_dead: whether the app has died.

    held: the messages held back.
    """

    def __init__(self, is_dead: Callable[[], bool], send: Send) -> None:
        self._is_dead = is_dead
        self._send = send
        self.held: list[Message] = []

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on, or hold it back. It is on the path of every token, and no coroutine: that is cheaper."""
        failed = message["type"] == "http.response.start" and message["status"] >= 500
        if self.held or (failed and self._is_dead()):
            self.held.append(message)
            return SENT
        return self._send(message)

    def fast_path(self) -> FastPath | None:
        """A path for all that follows a head which was passed on."""
        return None if self.held else fast_path(self._send)

    async def release(self) -> None:
        """Send them after all."""
        for message in self.held:
            await self._send(message)
