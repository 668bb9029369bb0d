"""A cache of answers for requests that are exactly equal and always answered alike."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from typing import Any

import msgspec

from engineroom.asgi import ASGIApp, Headers, Message, Receive, Scope, Send, disconnected
from engineroom.errors import APIError
from engineroom.openai.body import KEY, Request

from ...context import get_context
from ..base import Refusing, with_headers
from .responses import Recorder, send_answer, suits
from .store import Entry, Store

_GENERATING = frozenset({"/v1/chat/completions", "/v1/completions"})
_ALWAYS = frozenset({"/v1/embeddings"})
_NOT_ALIKE = ("tools", "functions", "web_search_options", "audio")
"""Fields with which an answer depends on more than the request, or has effects."""
_HELD_S = 2
"""A client that takes nothing of its answer for so long holds nobody up who waits for an equal one."""
_BY_CHANCE = 0xFFFFFFFF
_MAX_AGE = re.compile(rb"max-age=(\d{1,9})(?!\d)")
_HOW_ONLY = frozenset({"stream", "stream_options"})
"""Fields that say how an answer is sent, not what it is."""


class Cached(Refusing):
    """Answers from the store where it can, and asks the engine once for equal requests that come at a time.

    Each answer says in `cache-status` (RFC 9211) what became of it. A request's `cache-control` (RFC 9111) is
    honoured: `no-cache` has it asked anew, `no-store` has its answer not kept either, `max-age` has it asked anew
    where the kept answer is older, and `only-if-cached` has it refused with a 504 rather than asked.

    Args:
        ttl: seconds an answer is kept.
        largest: bytes of the largest answer that is kept.
    """

    def __init__(self, app: ASGIApp, store: Store, ttl: float, largest: int) -> None:
        super().__init__(app)
        self._store = store
        self._ttl = ttl
        self._largest = largest
        self._flights: dict[bytes, _Flight] = {}

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        request: Request | None = scope.get(KEY)
        json = request.json if request is not None else None
        control = b",".join(value for name, value in scope["headers"] if name == b"cache-control").lower()
        if json is None or not deterministic(scope["path"], json) or b"no-store" in control:
            get_context(scope).cache = "bypass"
            if b"only-if-cached" in control:
                raise _not_kept()
            await self.app(scope, receive, with_headers(send, _status("fwd=bypass")))
            return
        key = _digest(scope["path"], json)
        if b"no-cache" in control:
            get_context(scope).cache = "bypass"
            await self._ask(key, scope, receive, with_headers(send, _status("fwd=request")))
            return
        await self._find(key, json, control, scope, receive, send)

    async def _find(
        self, key: bytes, json: dict[str, Any], control: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        call = get_context(scope)
        entry = await self._store.get(key)
        said, alone = "hit", False
        if entry is not None and _too_old(self._ttl - entry.ttl, control):
            entry = None
        while entry is None or not suits(entry.body, json):
            if b"only-if-cached" in control:
                call.cache = "miss"
                raise _not_kept()
            flight = self._flights.get(key)
            # Who is more important does not wait behind another's place in the queue.
            if flight is None or alone or flight.priority < call.key.priority:
                call.cache = "miss"
                await self._ask(key, scope, receive, with_headers(send, _status("fwd=miss")))
                return
            if not await flight.over(receive):
                return
            # Where the other's client left, or takes nothing, one of those who waited asks in its place. Where it
            # failed, or lacks what is asked for here, each asks for itself: to wait for each other's failures would
            # take long.
            if not flight.landed.done():
                self._flights.pop(key, None)
            elif not flight.landed.cancelled():
                entry, said, alone = flight.landed.result(), "collapsed", True
        call.cache = said
        how = f"hit; ttl={entry.ttl}" if said == "hit" else "fwd=miss; collapsed"
        await send_answer(send, entry.body, json, _status(how))

    async def _ask(self, key: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        flight = _Flight(send, get_context(scope).key.priority)
        known = self._flights.get(key)
        if known is None or known.priority < flight.priority:
            self._flights[key] = flight

        async def keep(body: bytes) -> None:
            entry = Entry(time.time() + self._ttl, body)
            await self._store.put(key, entry)
            self._land(key, flight, entry)

        recorder = Recorder(flight.send, self._largest, keep)
        try:
            await self.app(scope, receive, recorder.send)
        finally:
            if not recorder.whole:
                flight.landed.cancel()
            self._land(key, flight, None)

    def _land(self, key: bytes, flight: _Flight, entry: Entry | None) -> None:
        """An answer is over: kept as `entry`, or None. Only the first call for a flight counts."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.landed.done():
            flight.landed.set_result(entry)


class _Flight:
    """An answer under way to the client that asked first.

    landed: done when it is over, with what was kept of it; cancelled where that client left.
    """

    def __init__(self, send: Send, priority: int) -> None:
        self.priority = priority
        self.landed: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._send = send
        self._held_since = math.inf

    async def send(self, message: Message) -> None:
        self._held_since = time.monotonic()
        await self._send(message)
        self._held_since = math.inf

    @property
    def _held(self) -> bool:
        """Whether its client takes nothing."""
        return time.monotonic() - self._held_since > _HELD_S

    async def over(self, receive: Receive) -> bool:
        """Wait until it is over, or held up by its client; False where the client that waits left before."""
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            waited_for: set[asyncio.Future[Any]] = {self.landed, gone}
            while not (self._held or self.landed.done() or gone.done()):
                await asyncio.wait(waited_for, timeout=_HELD_S, return_when=asyncio.FIRST_COMPLETED)
            return self._held or self.landed.done()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


def _too_old(age: float, control: bytes) -> bool:
    """Whether a request asks for something younger."""
    found = _MAX_AGE.search(control)
    return found is not None and age > int(found[1])


def deterministic(path: str, json: dict[str, Any]) -> bool:
    """Whether a request is answered alike each time: embeddings, and text at temperature 0 or with a seed."""
    if path in _ALWAYS:
        return True
    if path not in _GENERATING or any(json.get(name) for name in _NOT_ALIKE) or not _well_formed(json):
        return False
    temperature = json.get("temperature")
    cold = isinstance(temperature, (int, float)) and temperature == 0
    return cold or _is_seed(json.get("seed"))


def _is_seed(value: Any) -> bool:
    """Whether each engine draws from it: -1, also as 32 bits without a sign, asks many of them for a seed by chance."""
    return isinstance(value, int) and 0 <= value < _BY_CHANCE


def _well_formed(json: dict[str, Any]) -> bool:
    """Whether the fields that are not part of the digest are what they should be; if not, the engine says so."""
    stream, options = json.get("stream"), json.get("stream_options")
    return stream in (None, False, True) and (options is None or (bool(stream) and isinstance(options, dict)))


def _not_kept() -> APIError:
    return APIError("No answer to this request is kept.", status=504, code="not_cached")


def _digest(path: str, json: dict[str, Any]) -> bytes:
    what = {name: value for name, value in json.items() if name not in _HOW_ONLY}
    return hashlib.sha256(path.encode() + b"\n" + msgspec.json.encode(what, order="deterministic")).digest()


def _status(how: str) -> Headers:
    return [(b"cache-status", f"engineroom; {how}".encode())]
