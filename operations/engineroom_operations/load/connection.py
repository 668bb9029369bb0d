"""A connection of HTTP/1.1 with one exchange at a time, as cheap as Python allows: a call a piece of a body."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

import httptools

from .failure import RequestFailure


class Receiver(Protocol):
    """What gets a response while it arrives."""

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """headers: their names in lower case."""

    def on_body(self, data: bytes, moment: float) -> None:
        """A piece of the body. moment: when it arrived, by `time.perf_counter`.

        Raises:
            RequestFailure: the exchange has failed with it; its connection is closed.
        """


class Connection(asyncio.Protocol):
    """One connection. It is free for the next exchange where `reusable` is true."""

    def __init__(self) -> None:
        self.used = False
        self.closed = False
        self.answered = False
        """Whether any byte of the current response has come."""

        self._keep_alive = False
        self._until_closed = False
        self._informational = False
        self._status = 0
        self._moment = 0.0
        self._headers: dict[str, str] = {}
        self._receiver: Receiver | None = None
        self._done: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    @property
    def reusable(self) -> bool:
        return self._keep_alive and not self.closed

    def exchange(self, request: bytes, receiver: Receiver) -> asyncio.Future[None]:
        """Send a request; done when its response is complete.

        Raises, in the future:
            RequestFailure: the connection broke, or the receiver refused what came.
        """
        self._receiver = receiver
        self._headers = {}
        self._until_closed = True
        self._keep_alive = False
        self.answered = False
        self._done = asyncio.get_running_loop().create_future()
        if self.closed:
            self._finish(RequestFailure("cut off", "the server closed the connection"))
        else:
            self._transport.write(request)
        return self._done

    def fail(self, failure: RequestFailure) -> None:
        """End the exchange that is under way, and the connection."""
        self._finish(failure)
        self.close()

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._moment = time.perf_counter()
        self.answered = True
        try:
            self._parser.feed_data(data)
        except RequestFailure as failure:
            self.fail(failure)
        except httptools.HttpParserError as error:
            # A failure that a callback raised is the parser error's cause.
            cause = error.__context__
            broken = RequestFailure("not the API", f"the response is no HTTP/1.1: {error}")
            self.fail(cause if isinstance(cause, RequestFailure) else broken)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        # A response without a length ends where its connection does.
        if self._until_closed and self._status and error is None:
            self._finish(None)
        else:
            self._finish(RequestFailure("cut off", "the server closed the connection before the response was complete"))

    # The parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._informational = status < 200
        if self._informational:
            self._headers = {}
            return
        self._status = status
        headers = self._headers
        self._until_closed = "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "")
        if self._receiver is not None:
            self._receiver.on_head(status, headers)

    def on_body(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.on_body(data, self._moment)

    def on_message_complete(self) -> None:
        if self._informational:
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._finish(None)

    def _finish(self, failure: RequestFailure | None) -> None:
        done = self._done
        self._receiver = None
        self._done = None
        self._status = 0
        if done is None or done.done():
            return
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
