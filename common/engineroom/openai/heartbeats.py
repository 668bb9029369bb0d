"""Signs of life in event streams, so that nobody on the way to a client takes a silent engine for a dead one.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes, which advises a comment every 15
seconds. A comment is no event: clients skip it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from ..asgi.fast_path import FastPath, fast_path
from ..asgi.types import Message, Send, header
from ..errors import APIError
from .errors import error_event
from .sse import HEADERS
from .upstream_errors import from_upstream

COMMENT = b": heartbeat\n\n"
"""What is sent where an event stream was silent."""


class HeartbeatStream:
    """The response to one request for an event stream, which is never silent for long.

    Give the app `send` instead of the caller's. Whatever it sends soon goes through as it is, an error with its own
    status. After `seconds` of silence the stream begins here, with a status of 200, the usual headers and a comment;
    what the app sends as its own beginning then adds nothing, and an error becomes the stream's last event. Amid a
    stream, too, comments go out between events while the app sends none.

    One timer runs for each stream, not for each token: it looks whether anything was sent since it last looked. So a
    silence amid a stream is broken after one to two times `seconds`. That goes for a client that takes nothing, too:
    the caller's `send` is then called once more before it has returned, and has to keep the order, as servers do.

    Make it inside a running loop; `await close()` it always.

    Args:
        path: the route, by which clients know the shape of an error.
        send: where the response goes.
        seconds: how long a silence may be.

    late_status: the status of an error that found the headers gone; 0 where there was none.
    """

    __slots__ = (
        "_begun",
        "_between_events",
        "_fast",
        "_flowing",
        "_heartbeat",
        "_last",
        "_late_body",
        "_late_head",
        "_loop",
        "_path",
        "_seconds",
        "_send",
        "_timer",
        "late_status",
    )

    def __init__(self, path: str, send: Send, seconds: float) -> None:
        self.late_status = 0
        self._path = path
        self._send = send
        self._seconds = seconds
        self._begun = False
        """Whether the client has, or is about to get, its headers."""
        self._flowing = False
        """Whether what the app sends can be passed on without a look at it."""
        self._last: Message | None = None
        """What the app sent last, if it has sent anything since the timer's last look."""
        self._between_events = True
        """Whether that ended an event, so that a comment may follow."""
        self._late_head: Message | None = None
        """The beginning of an answer that is no stream and came after the headers."""
        self._late_body = bytearray()
        self._heartbeat: asyncio.Task[None] | None = None
        self._fast: FastPath | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._look)

    def send(self, message: Message) -> Awaitable[None]:
        """Take the app's next message. It is on the path of every token, and no coroutine, because that is cheaper."""
        if not self._flowing:
            return self._send_with_care(message)
        self._last = message
        return self._send(message)

    def fast_path(self) -> FastPath | None:
        """A path for what the app sends between two heartbeats."""
        self._fast = fast_path(self._send, self) if self._flowing else None
        return self._fast

    def note_pieces(self, times: Sequence[float], pieces: Sequence[bytes]) -> None:
        """Take what has passed by: as `send`, but for the sending."""
        self._last = {"type": "http.response.body", "body": pieces[-1], "more_body": True}

    async def close(self) -> None:
        """The app has ended: no more heartbeats."""
        self._timer.cancel()
        if self._fast is not None:
            self._fast.close()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.gather(self._heartbeat, return_exceptions=True)

    async def _send_with_care(self, message: Message) -> None:
        """Take a message at the stream's beginning, after a heartbeat, or of an error that has lost its status."""
        if self._heartbeat is not None:
            # It goes out first, and alone.
            await asyncio.wait({self._heartbeat})
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._late_head is not None:
            await self._send_late_error(self._late_head, message)
        else:
            self._flowing = True
            self._last = message
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        stream = (header(message, b"content-type") or b"").startswith(b"text/event-stream")
        if self._begun:
            if not stream:
                self._late_head = message
            return
        self._begun = True
        if not stream:
            self._timer.cancel()
        self._last = message
        await self._send(message)

    async def _send_late_error(self, head: Message, message: Message) -> None:
        """Collect the body of an answer that is no stream, and send it as an error's event once it is whole."""
        self._late_body += message.get("body", b"")
        if message.get("more_body"):
            return
        self._timer.cancel()
        if head["status"] >= 400:
            error = from_upstream(head["status"], bytes(self._late_body))
        else:
            error = APIError("The engine's answer is not a stream.", status=502, code="engine_error")
        self.late_status = error.status
        await self._send({"type": "http.response.body", "body": error_event(error, self._path)})

    def _look(self) -> None:
        """Send a comment if nothing was sent since the last look; look again later, unless the stream is over."""
        if self._fast is not None:
            self._fast.catch_up()
        last = self._last
        self._last = None
        if last is not None and last["type"] == "http.response.body":
            if not last.get("more_body"):
                return
            self._between_events = last.get("body", b"").endswith((b"\n\n", b"\n\r\n"))
        self._timer = self._loop.call_later(self._seconds, self._look)
        if last is not None or not self._between_events:
            return
        if self._heartbeat is None or self._heartbeat.done():
            self._flowing = False
            if self._fast is not None:
                self._fast.close()
            self._heartbeat = self._loop.create_task(self._beat())

    async def _beat(self) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
