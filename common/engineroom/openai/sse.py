"""Server-sent events: framing them, and finding whole ones in bytes that were split anywhere.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Lines end in LF or CRLF; a lone CR, which
the standard also allows and no engine sends, is not a line end here.
"""

from __future__ import annotations

import re

from ..asgi.client import Response
from ..errors import EngineroomError

DONE = b"data: [DONE]\n\n"
"""The event that ends a stream of OpenAI's API."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
"""Headers of a streamed answer; the last asks proxies such as nginx not to collect it."""

MAX_EVENT = 32 << 20
"""Largest event in bytes before a stream counts as broken."""

_EVENT = re.compile(rb".*?\n\r?\n", re.DOTALL)


class EventTooLargeError(EngineroomError):
    """A stream went on for longer than an event may be without ending one."""


def encode(data: bytes) -> bytes:
    """One event; `data` is a single line, as JSON from an encoder is."""
    return b"data: " + data + b"\n\n"


class EventSplitter:
    """Bytes of an event stream in, whole events out, byte for byte.

    Args:
        limit: largest event in bytes.
    """

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """What has come of an event that is not whole yet; not empty at the end of a stream that was cut off."""
        return bytes(self._rest)

    def feed(self, chunk: bytes) -> bytes:
        """All the events that are whole now, as one string of bytes; empty where there is none.

        Raises:
            EventTooLargeError: an event is over the limit.
        """
        rest = self._rest
        if not rest and chunk.endswith(b"\n\n"):
            return chunk
        seen = max(0, len(rest) - 3)
        rest += chunk
        end = max(rest.rfind(b"\n\n", seen) + 2, rest.rfind(b"\n\r\n", seen) + 3)
        if end < 3:
            if len(rest) > self._limit:
                raise EventTooLargeError(f"an event of the stream is larger than {self._limit} bytes")
            return b""
        events = bytes(rest[:end])
        del rest[:end]
        return events


class EventParser:
    """Bytes of an event stream in, the data of whole events out.

    Args:
        limit: largest event in bytes.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._splitter = EventSplitter(limit)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that is whole now, white space around it removed.

        Raises:
            EventTooLargeError: an event is over the limit.
        """
        return payloads(self._splitter.feed(chunk))

    def finish(self) -> list[bytes]:
        """The data of a last event that lacks its blank line, as some servers end their streams."""
        return payloads(self._splitter.feed(b"\n\n"))


class EventSource:
    """The whole events of a streamed response, as they come: a `StreamSource` of bytes.

    Args:
        single: whether each piece is one event; otherwise a piece is all that there is, which costs less.
    """

    def __init__(self, response: Response, single: bool) -> None:
        self._response = response
        self._single = single
        self._splitter = EventSplitter()
        self._events = b""

    @property
    def ended(self) -> bool:
        return self._response.ended

    async def wait(self) -> bool:
        while not self._events:
            if not await self._response.wait():
                # A stream that was cut off amid an event: its client is to judge what there is of it.
                self._events = self._splitter.feed(b"\n\n") if self._splitter.rest.strip() else b""
                return bool(self._events)
            self._collect()
        return True

    def drain(self) -> list[bytes]:
        self._collect()
        events = self._events
        self._events = b""
        return split_events(events) if self._single else [events]

    def _collect(self) -> None:
        chunks = self._response.drain()
        if chunks:
            self._events += self._splitter.feed(b"".join(chunks))


def split_events(events: bytes) -> list[bytes]:
    """Whole events one by one, byte for byte."""
    if events.find(b"\r") >= 0:
        return _EVENT.findall(events)
    return [event + b"\n\n" for event in events.split(b"\n\n")[:-1]]


def payloads(events: bytes) -> list[bytes]:
    """The data of whole events; those without any (comments, pings) are left out.

    `find` stands here for `in`, which first takes what it is to look for for a number, and makes an exception of that:
    on the path of every token it costs twice as much.
    """
    if events.find(b"\r") >= 0:
        events = events.replace(b"\r\n", b"\n")
    data_of_events = []
    for event in events.split(b"\n\n"):
        if not event:
            continue  # Behind the last one.
        if event.startswith(b"data:") and event.find(b"\n") < 0:
            data = event[5:].strip()
        else:
            data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if data:
            data_of_events.append(data)
    return data_of_events
