"""HTTP itself is uvicorn's; here are the limits that it lacks, and its refusals in the API's own form."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from engineroom.asgi import ON_LEAVE, RESERVATION, SENT, ASGIApp, FastPath, Receive, Scope, Send, send_body
from engineroom.errors import APIError
from engineroom.openai.errors import error_body

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
    from uvicorn.protocols.http.flow_control import FlowControl

_MAX_HEAD_BYTES = 256 * 1024
"""Bytes of a request's line and headers; several times what browsers and proxies send at most."""

_MAX_HEADERS = 256
"""Headers of a request. Each costs Python more than a hundred bytes, however short it is."""

_MAX_UNREAD_BYTES = 64 * 1024
"""Bytes after a head that are no part of the body, on end: a chunk's extensions, and the trailers after the last."""

_HOST = re.compile(rb"[\w.~!$&'()*+,;=%:\[\]-]*", re.ASCII)
"""What may stand in a Host header (RFC 3986, 3.2.2)."""

_MAX_PIPELINED = 8
"""Requests that a client may send before it has a response, before no more is read from it."""

_MOST_PIPELINED = 1_000
"""Requests that may arrive together before a response is complete; a client that sends more is cut off."""

_FREE_PIECES = 10_000
_PIECE_BYTES = 64
"""Pieces of a body that may have any size, and the bytes that they have on average where there are more. Each is a call
of Python's: a body in chunks of one byte would take longer than all its bytes."""

_SMALL_BYTES = 256 * 1024
_CONNECTION_BYTES = 16 * 1024
"""What Python keeps for a connection that has sent nothing yet."""
_PROBE_BYTES = 256 * _CONNECTION_BYTES
"""What the connections to a port for health checks may hold together."""
_HEADER_BYTES = 160
_OBJECT_BYTES = 240
_VALUE_BYTES = 64
"""What Python takes for a header, for an object in JSON with one field, and for any other value, at most, beside the
bytes of its text."""

_COPIED_BYTES = 32 * 1024
"""Up to which size a piece of a body is copied into its chunk; a larger one goes to the system as it is."""

_STARTS = 4
"""Requests that begin in one turn of the loop."""

_INVALID = "invalid_http"


class RequestMemory:
    """What the door may hold of requests that do not run yet, of all clients together.

    Args:
        limit: bytes. An eighth of them is for small requests alone: those who upload much do not shut the others out.

    held: bytes that are taken now.
    held_elsewhere: counts the bytes that other processes hold, where some do.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.held_elsewhere: Callable[[], int] | None = None
        self._limit_of_large = limit * 7 // 8

    def take(self, more: int, size: int) -> bool:
        """Hold `more` bytes from now on, for what holds `size` in all then; False where there is no room for them."""
        if more > 0 and not self.allows(more, size):
            return False
        self.held += more
        return True

    def allows(self, more: int, size: int) -> bool:
        """Whether what is to hold `size` bytes in all may take `more` of them now."""
        limit = self.limit if size <= _SMALL_BYTES else self._limit_of_large
        return self.held + more <= limit

    def total(self) -> int:
        """Bytes that are taken now at the whole door."""
        return self.held if self.held_elsewhere is None else self.held + self.held_elsewhere()

    def refusal(self, size: int) -> Callable[[], APIError]:
        """Makes the error for what wants to hold `size` bytes in all, and finds no room: now, or ever."""
        return no_room if size <= self._limit_of_large else never_room


class Reservation:
    """What one connection or one request holds of the memory for all."""

    __slots__ = ("_memory", "held")

    def __init__(self, memory: RequestMemory) -> None:
        self._memory = memory
        self.held = 0

    def hold(self, size: int) -> bool:
        """Hold `size` bytes in all from now on; False, and nothing changes, where there is no room for more."""
        more = size - self.held
        if more and not self._memory.take(more, size):
            return False
        self.held = size
        return True

    def release(self) -> None:
        """Give all of it back; it may be called again."""
        self.hold(0)


def decoded_bytes(body: bytes) -> int:
    """Bytes that a part of a JSON body takes in memory, at most, while its request is here: as sent, and decoded.

    It counts brackets and commas in texts, too: to look at each byte would take longer than to read it.
    """
    values = body.count(b",") + body.count(b"[")
    return 2 * len(body) + _OBJECT_BYTES * body.count(b"{") + _VALUE_BYTES * values


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which refuses a client that sends no whole request in time, or one without end.

    A connection between two requests is uvicorn's business: it closes one that is idle for too long. One whose
    request was answered before its body was there, as by a 401, has `timeout` for the rest of it, of which nothing is
    kept.

    What it keeps of a request counts as held until the request has ended, or has been admitted: `RESERVATION` in its
    scope. Trailers are read and dropped.

    An offer of another protocol (`Upgrade: h2c`, which Java's client makes with every first request) is left aside,
    and clients of HTTP/1.0 get bodies without chunks, which they do not know.
    """

    timeout: ClassVar[float] = 60
    """Seconds from a connection's or a request's beginning until its head must be there, and from when its body is
    asked for until that must be."""
    memory: ClassVar[RequestMemory]
    health_port: ClassVar[int | None] = None
    """A port whose connections have memory of their own, so that a flood at the other one fails no health check."""
    probe_memory: ClassVar[RequestMemory]
    outbox: ClassVar[Outbox]
    starter: ClassVar[RequestStarter]

    _in_head = False
    """Whether a head has begun, or is waited for, and is not whole yet."""
    _head_timer: asyncio.TimerHandle | None = None
    """Runs while a head is waited for: most are whole in the piece in which they begin, and need none."""
    _body_timer: asyncio.TimerHandle | None = None
    """Runs while a request that has its response is not whole yet."""
    _head_bytes = 0
    _unread_bytes = 0
    """Bytes since the parser last gave something of a body."""
    _trailers = 0
    _pieces = 0
    _piece_bytes = 0
    """Pieces of the body so far, and their bytes."""
    _cycles: Sequence[_Cycle] = ()
    """The requests whose responses are not complete, in the order of their arrival."""

    cycle: _Cycle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        for_probes = self.server is not None and self.server[1] == self.health_port
        self._reservation = Reservation(self.probe_memory if for_probes else self.memory)
        if self._reservation.hold(_CONNECTION_BYTES):
            self._in_head = True
            self._start_head_timer()
        else:
            self._refuse(no_room())

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timers()
        self._reservation.release()
        # uvicorn tells only the last request, which is not the one that runs where a client sent several at once.
        for cycle in self._cycles:
            cycle.stop_timer()
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
                cycle.departure.note()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._unread_bytes += len(data)
        rest = data
        while rest:
            try:
                self.parser.feed_data(rest)
                rest = b""
            except httptools.HttpParserUpgrade as offer:
                rest = self._head_without_offer() + rest[offer.args[0] :]
            except httptools.HttpParserError as error:
                rest = b""
                self._refuse_unparsed(error.__context__)
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._head_timer is None:
                self._start_head_timer()
            self._head_bytes += len(data)
            self._unread_bytes = 0
            self._check_head()
        elif self._unread_bytes > _MAX_UNREAD_BYTES:
            self._refuse(_too_large("trailers"))
        elif not self._reservation.hold(_CONNECTION_BYTES + self._unread_bytes):
            self._refuse(no_room())

    def _refuse_unparsed(self, cause: BaseException | None) -> None:
        """Refuse what the parser has given up, at an error of its own or at one that a callback raised."""
        if isinstance(cause, APIError):
            self._refuse(cause)
        else:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def _check_head(self) -> None:
        """Refuse the head that is not whole yet where it is too large already, or there is no room for it."""
        count = len(self.headers or ())
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(_too_large("headers"))
        elif not self._reservation.hold(_CONNECTION_BYTES + self._head_bytes + count * _HEADER_BYTES):
            self._refuse(no_room())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._cancel_timers()
        self._head_bytes = 0
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # Each is a call of Python's: many short ones would take longer than all their bytes.
        if not self._in_head:
            self._trailers += 1
            if self._trailers > _MAX_HEADERS:
                raise _too_large("trailers")
        elif len(self.headers) == _MAX_HEADERS:
            raise _too_large("headers")
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel_timers()
        self._unread_bytes = 0
        self._trailers = 0
        self._pieces = 0
        self._piece_bytes = 0
        if self._offers_upgrade:
            return
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise APIError("Too many requests before the first has its response.", status=429, code="too_many_requests")
        app = self.app
        error = self._head_error()
        if error is not None:
            self.app = _refusal(error)
        super().on_headers_complete()
        self.app = app
        # uvicorn makes the object itself. Its task has not begun yet.
        self.cycle.__class__ = _CycleWithoutChunks if self.scope.get("http_version") == "1.0" else _Cycle
        self.cycle.prepare(self.timeout, Reservation(self.memory), self.outbox)
        self._cycles = [*(cycle for cycle in self._cycles if not cycle.response_complete), self.cycle]
        if 0 < len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()  # Else nobody would notice that the client has left.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.starter.add(partial(super()._start_asgi_task, cycle, app))

    def _head_error(self) -> APIError | None:
        """What is wrong with a head that can be parsed; None where nothing is."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return APIError(f"A request has one Host header (RFC 9112, 3.2); this one has {len(hosts)}.", code=_INVALID)
        if hosts and not _HOST.fullmatch(hosts[0]):
            return APIError("The request's Host header is no host.", code=_INVALID)
        return None

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        self._pieces += 1
        self._piece_bytes += len(body)
        check_pieces(self._pieces, self._piece_bytes)
        cycle = self.cycle
        if self._offers_upgrade or cycle.response_complete or cycle.failed:
            return
        size = cycle.reservation.held + decoded_bytes(body)
        if cycle.reservation.hold(size):
            super().on_body(body)
        else:
            cycle.fail(self.memory.refusal(size))

    def on_message_complete(self) -> None:
        self._unread_bytes = 0
        if self._offers_upgrade:
            return
        super().on_message_complete()
        self.cycle.stop_timer()
        if self.cycle.response_complete:  # Its response was there before the rest of it.
            self.cycle.more_body = False
            self._cancel_timers()
            self._start_keep_alive_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        for cycle in self._cycles:
            if cycle.response_complete:
                cycle.stop_timer()
                cycle.body = bytearray()  # Of one that nobody read; an idle connection is not to keep it.
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            # uvicorn's own timer ends at the body's next byte, and would not begin again.
            self._unset_keepalive_if_required()
            self._body_timer = self.loop.call_later(self.timeout, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        self._refuse(APIError(msg, code=_INVALID))

    @property
    def _offers_upgrade(self) -> bool:
        """Whether the head that is here offers another protocol: then the parser reads no body after it."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        """The head that is here as if it had come without its offer, for a new parser."""
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn does.
        return b"".join([*head, b"\r\n"])

    @property
    def _may_refuse(self) -> bool:
        """Whether no response is under way, nor has been sent, to the request that a refusal would answer."""
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def _start_keep_alive_timer(self) -> None:
        self._unset_keepalive_if_required()
        handler = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, handler)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.timeout, self._on_head_timeout)

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._body_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = None
        self._body_timer = None

    def _on_head_timeout(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_head_timer()
        elif self._head_bytes:
            message = f"The request's headers did not arrive within {self.timeout:g} s."
            self._refuse(APIError(message, status=408, code="request_timeout"))
        else:
            self.transport.close()

    def _refuse(self, error: APIError) -> None:
        """End the connection, with an error where a client would take it for the answer to what it sends."""
        self._cancel_timers()
        if self._may_refuse:
            body = msgspec.json.encode(error_body(error))
            head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
            if error.retry_after is not None:
                head += f"retry-after: {error.retry_after}\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


class _Departure:
    """Tells whoever serves a request that its client has left. Holds nothing of the request: its scope holds this."""

    __slots__ = ("_callback", "_flow", "_gone")

    def __init__(self, flow: FlowControl) -> None:
        self._flow = flow
        self._gone = False
        self._callback: Callable[[], None] | None = None

    def watch(self, callback: Callable[[], None]) -> None:
        self._flow.resume_reading()  # A large body may have paused it, and then nobody would notice.
        self._callback = callback
        if self._gone:
            callback()

    def forget(self) -> None:
        self._callback = None

    def note(self) -> None:
        """The client has left."""
        self._gone = True
        if self._callback is not None:
            self._callback()


class RequestStarter:
    """Starts requests, a few in each turn of the loop, in the order of their arrival.

    Of hundreds that arrive at once all would otherwise go to the engine before the first answer is looked at, and all
    first tokens would come late. Between a few and the next the loop passes on what the engine has answered meanwhile.
    No request waits for anything but the processor.
    """

    __slots__ = ("_started", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._started = 0
        """How many have been started in this turn."""

    def add(self, start: Callable[[], None]) -> None:
        """Call `start` now, or in one of the next turns."""
        if self._started == 0:
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._started < _STARTS:
            self._started += 1
            start()
        else:
            self._waiting.append(start)

    def _next_turn(self) -> None:
        self._started = 0
        for _ in range(min(_STARTS, len(self._waiting))):
            self.add(self._waiting.popleft())


class Outbox:
    """What responses have to send in this turn of the loop, of all connections; it leaves at the turn's end.

    A transport hands every write to the system as it comes. Here a head, a body and an end leave in one call, and so do
    all events that came together; and the calls of all streams follow one another, which makes each of them cheaper
    than it is between two reads: the client that the first one wakes is still awake for the next.
    """

    __slots__ = ("_clock", "_latest", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[_ResponseTransport] = []
        self._clock: Callable[[], float] = self._first_time
        self._latest = 0.0

    def _first_time(self) -> float:
        """The clock of the loop, which does not run yet when this is made."""
        self._clock = asyncio.get_running_loop().time
        return self._clock()

    def is_alone(self) -> bool:
        """Whether nobody else has asked this in the same millisecond: then there is nothing to wait for.

        uvloop's clock stands still within a turn. With another loop's each is alone.
        """
        now = self._clock()
        alone = now != self._latest
        self._latest = now
        return alone

    def add(self, transport: _ResponseTransport) -> None:
        """Flush it at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(transport)

    def _flush(self) -> None:
        waiting = self._waiting
        self._waiting = []
        for transport in waiting:
            transport.flush()


class _ResponseTransport:
    """Takes the place of a transport for one response: what is written leaves at the turn's end, or with its close."""

    __slots__ = ("_held", "_outbox", "_transport")

    def __init__(self, transport: asyncio.Transport, outbox: Outbox) -> None:
        self._transport = transport
        self._outbox = outbox
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            self._held += data
        else:
            self._held = data
            self._outbox.add(self)

    def write_piece(self, data: bytes) -> None:
        """Write a piece of a stream: now, where no other stream has one."""
        if not self._held and self._outbox.is_alone():
            self._transport.write(data)
        else:
            self.write(data)

    def write_large(self, parts: Sequence[bytes]) -> None:
        """Write these now, one after another, without a copy."""
        self.flush()
        self._transport.writelines(parts)

    def flush(self) -> None:
        data = self._held
        self._held = b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Cycle(RequestResponseCycle):
    """One request and its response: its body has to arrive in time, and to find room.

    A piece of a stream is written in a plain call, unless the client is slow: nothing is made for it but its bytes.
    """

    reservation: Reservation
    """What it holds; also in its scope."""
    departure: _Departure
    _timeout: float
    _timer: asyncio.TimerHandle | None = None
    _failure: Callable[[], APIError] | None = None
    _streaming = False
    """Whether pieces of the body can be written as they come, each a chunk of HTTP's own."""
    _waits_for_first = True
    """Whether the client has nothing of a stream yet."""

    def prepare(self, timeout: float, reservation: Reservation, outbox: Outbox) -> None:
        """Take the place of `__init__`, which has run before this was of this class."""
        self._writer = _ResponseTransport(self.transport, outbox)
        self.transport = cast("asyncio.Transport", self._writer)
        self._timeout = timeout
        self.reservation = reservation
        self.departure = _Departure(self.flow)
        scope = cast("Scope", self.scope)
        scope[RESERVATION] = reservation
        scope[ON_LEAVE] = self.departure

    @property
    def failed(self) -> bool:
        """Whether nothing more of its body is wanted."""
        return self._failure is not None

    def fail(self, make_error: Callable[[], APIError]) -> None:
        """Let whoever reads the body get an error instead. It is made when it is raised: one that is kept would keep
        alive whatever the frames hold through which it came."""
        self._failure = make_error
        self.body = bytearray()
        # At once, and not when the reader has noticed: others that ask meanwhile would fail, too.
        self.reservation.release()
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        if self.more_body and self._timer is None and not self.disconnected:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self.fail, lambda: late(self._timeout))
        message = await super().receive()
        if self._failure is not None and message["type"] == "http.request":
            raise self._failure()
        return message

    def send(self, message: ASGISendEvent) -> Awaitable[None]:  # type: ignore[override]
        if not self._streaming or self.flow.write_paused or not message.get("more_body"):
            return self._send_with_care(message)
        body: bytes = message.get("body", b"")  # type: ignore[assignment]
        if body:
            self._write_piece(body)
        return SENT

    def fast_path(self) -> FastPath | None:
        """A path for pieces of a stream."""
        return FastPath(self._write_piece) if self._streaming else None

    def _write_piece(self, body: bytes) -> bool:
        """Write a piece of a stream; False where that cannot be done in a plain call."""
        if not self._streaming or self.flow.write_paused or self.disconnected:
            return False
        size = len(body)
        if size < _COPIED_BYTES:
            self._writer.write_piece(b"%x\r\n%b\r\n" % (size, body))
            if self._waits_for_first:
                # In a rush of requests a turn is long, and somebody waits for this.
                self._waits_for_first = False
                self._writer.flush()
        else:
            self._writer.write_large((b"%x\r\n" % size, body, b"\r\n"))
        return True

    async def _send_with_care(self, message: ASGISendEvent) -> None:
        """Send a response's start or end, all of one with a length, and what a slow client has to be waited for."""
        await super().send(message)
        if self.response_complete:
            self._writer.flush()  # What follows on this connection is not to wait for it, nor overtake it.
        self._streaming = (
            self.response_started
            and not self.response_complete
            and self.chunked_encoding is True
            and self.scope["method"] != "HEAD"
        )

    def stop_timer(self) -> None:
        """The body is there, or is not wanted any more."""
        if self._timer is not None:
            self._timer.cancel()


class _CycleWithoutChunks(_Cycle):
    """One response to a client of HTTP/1.0: where its length is not known, it ends with the connection (RFC 9112)."""

    _has_length = False

    async def _send_with_care(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self.chunked_encoding = None if self._has_length else False
        elif message["type"] == "http.response.body" and not self._has_length:
            self.expected_content_length = len(message.get("body", b""))
        await super()._send_with_care(message)


def _too_large(what: str) -> APIError:
    return APIError(f"The request's {what} are too large.", status=431, code="request_too_large")


def check_pieces(count: int, size: int) -> None:
    """Raises APIError for a body in too many pieces: `count` of them so far, with `size` bytes in all."""
    if count > _FREE_PIECES and size < count * _PIECE_BYTES:
        raise APIError("The request's body is in too many pieces.", code=_INVALID)


def late(timeout: float) -> APIError:
    """The error for a body that has not arrived within `timeout` seconds."""
    return APIError(f"The request's body did not arrive within {timeout:g} s.", status=408, code="request_timeout")


def no_room() -> APIError:
    """The error for a request that finds no room now."""
    return APIError(
        "The server is busy: it holds as much of other requests as it may (REQUEST_MEMORY_MB). Please try again later.",
        status=503,
        code="server_busy",
        retry_after=2,
    )


def never_room() -> APIError:
    """The error for a request that can never find room."""
    return APIError(
        "The request takes more memory, once it is decoded, than there is for all requests (REQUEST_MEMORY_MB).",
        status=413,
        code="request_too_large",
    )


def _refusal(error: APIError) -> ASGIApp:
    """An app that answers with the error, and ends the connection: what follows it on it may be part of a trick."""
    body = msgspec.json.encode(error_body(error))

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, error.status, body, b"application/json", [(b"connection", b"close")])

    return refuse


def releasing(app: ASGIApp) -> ASGIApp:
    """The app, after whose end nothing of a request is held.

    A connection keeps the scope of its last request as long as it is open, so the app gets one of its own.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app({**scope}, receive, send)
        finally:
            scope[RESERVATION].release()

    return serve


def make_protocol(timeout: float, memory: RequestMemory, health_port: int | None = None) -> type[Protocol]:
    """The protocol with that timeout and that memory, and with some more at a port for health checks: uvicorn wants a
    class."""
    probe_memory = RequestMemory(_PROBE_BYTES)
    attributes: dict[str, Any] = {"timeout": timeout, "memory": memory, "outbox": Outbox(), "starter": RequestStarter()}
    attributes |= {"health_port": health_port, "probe_memory": probe_memory}
    return type("ConfiguredProtocol", (Protocol,), attributes)
