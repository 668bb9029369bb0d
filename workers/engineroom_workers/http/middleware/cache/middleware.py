"""A cache of responses for requests that are exactly equal and always answered alike."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engineroom.asgi import SENT, ASGIApp, FastPath, Headers, Message, Receive, Scope, Send, fast_path, race
from engineroom.errors import APIError
from engineroom.openai.body import get_request
from engineroom.openai.routes import EMBEDDINGS, TEXT_ROUTES
from engineroom.openai.usage import get_usage, requested_usage

from ..base import ErrorMiddleware, Resources
from ..context import get_context
from .responses import Recorder, send_answer, suits
from .store import Entry, MemoryStore, RedisStore, Store, cache_namespace

if TYPE_CHECKING:
    from ...options import Options

_DETERMINISTIC_PATHS = frozenset({EMBEDDINGS})
_NONDETERMINISTIC_FIELDS = ("tools", "functions", "web_search_options", "audio")
"""Fields with which a response depends on more than the request, or has effects."""
_DELIVERY_FIELDS = frozenset({"stream", "stream_options"})
"""Fields that say how a response is sent, not what it is."""
_RANDOM_SEED = 0xFFFFFFFF
"""-1 as 32 bits without a sign, which asks many engines for a random seed."""
_STALLED_S = 2
"""A client that takes nothing of its response for so long holds nobody up who waits for an equal one."""
_LARGEST_SHARE = 8
"""A response may take an eighth of CACHE_MAX_MB."""
_MAX_AGE = re.compile(rb"max-age=(\d{1,9})(?!\d)")


class CacheMiddleware(ErrorMiddleware):
    """Responds from the store where it can, and asks the engine once for equal requests that come at a time.

    That one request is the equal ones' flight: they wait for it and share its response (a "single flight"). Each
    response says in `cache-status` (RFC 9211) what the cache did. A request's `cache-control` (RFC 9111) counts:
    with `no-cache` the engine is asked anew, with `no-store` its response is not kept either, with `max-age` it is
    asked anew where the kept response is older, and `only-if-cached` prefers a 504 to asking it.

    Each key has its own entries: what is in the cache, and how fast an answer comes, would tell one what others asked.
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        settings = resources.options.cache
        size = int(settings.cache_max_mb * 1_000_000)
        self._store: Store = MemoryStore(size)
        if resources.redis is not None:
            self._store = RedisStore(resources.redis, cache_namespace(resources.choices))
        self._ttl = settings.cache_ttl
        self._shared = settings.cache_shared
        self._largest = size // _LARGEST_SHARE
        self._flights: dict[bytes, _Flight] = {}

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return bool(options.cache.cache_ttl)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        context = get_context(scope)
        request = get_request(scope)
        control = CacheControl.of(scope)
        json = request.json if request is not None else None
        if json is None or not is_deterministic(scope["path"], json) or control.no_store:
            context.cache = "bypass"
            if control.only_if_cached:
                raise _not_cached()
            context.headers += _cache_status("fwd=bypass")
            await self.app(scope, receive, send)
            return
        key = _digest("" if self._shared else context.key.name, scope["path"], json)
        if control.no_cache:
            context.cache = "bypass"
            context.headers += _cache_status("fwd=request")
            await self._forward(key, scope, receive, send)
            return
        entry = await self._store.get(key)
        if entry is not None and suits(entry.body, json) and self._ttl - entry.ttl <= control.max_age:
            context.cache = "hit"
            await _respond(scope, send, entry, json, f"hit; ttl={entry.ttl}")
            return
        if control.only_if_cached:
            context.cache = "miss"
            raise _not_cached()
        entry = await self._join_flight(key, context.key.priority, receive)
        if entry is not None and suits(entry.body, json):
            context.cache = "collapsed"
            await _respond(scope, send, entry, json, "fwd=miss; collapsed")
            return
        # Nobody else asks this now, or the one who did failed, or its response lacks what this one needs. Each asks
        # for itself then: to wait for one another's failures in turn would take long.
        context.cache = "miss"
        context.headers += _cache_status("fwd=miss")
        await self._forward(key, scope, receive, send)

    async def _join_flight(self, key: bytes, priority: int, receive: Receive) -> Entry | None:
        """Wait for an equal request that is under way.

        Returns:
            What its response left in the cache, or None where this request has to ask the engine itself.

        Raises:
            ClientDisconnected: this request's own client left.
        """
        while (flight := self._flights.get(key)) is not None:
            # An important request does not wait behind a less important one's place in the queue.
            if flight.priority < priority:
                return None
            await race(flight.wait(), receive)
            if flight.landed.done() and not flight.landed.cancelled():
                return flight.landed.result()
            # The flight's client left, or takes nothing. Whoever wakes first of those who waited asks in its place;
            # the others find that one's flight and wait for it.
            if self._flights.get(key) is flight:
                del self._flights[key]
        return None

    async def _forward(self, key: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the engine, and keep its response; equal requests may join meanwhile."""
        flight = _Flight(send, get_context(scope).key.priority)
        known = self._flights.get(key)
        if known is None or known.priority < flight.priority:
            self._flights[key] = flight

        async def keep(body: bytes) -> None:
            entry = Entry(time.time() + self._ttl, body)
            await self._store.put(key, entry)
            self._land(key, flight, entry)

        recorder = Recorder(flight.send, self._largest, requested_usage(scope), keep)
        try:
            await self.app(scope, receive, recorder.send)
        finally:
            if not recorder.whole:
                flight.landed.cancel()
            self._land(key, flight, None)

    def _land(self, key: bytes, flight: _Flight, entry: Entry | None) -> None:
        """End a flight, its response kept as `entry` or not at all. Only the first call counts."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.landed.done():
            flight.landed.set_result(entry)


class _Flight:
    """A response under way to the client that asked first.

    landed: done when it is over, with what was kept of it; cancelled where that client left before.
    """

    def __init__(self, send: Send, priority: int) -> None:
        self.priority = priority
        self.landed: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._send = send
        self._sending_since = math.inf

    def send(self, message: Message) -> Awaitable[None]:
        sending = self._send(message)
        return sending if sending is SENT else self._wait(sending)

    def fast_path(self) -> FastPath | None:
        """A path for what is sent without waiting."""
        return fast_path(self._send)

    async def _wait(self, sending: Awaitable[None]) -> None:
        self._sending_since = time.monotonic()
        await sending
        self._sending_since = math.inf

    @property
    def _stalled(self) -> bool:
        """Whether its client takes nothing."""
        return time.monotonic() - self._sending_since > _STALLED_S

    async def wait(self) -> None:
        """Wait until it is over, or its client holds it up."""
        while not (self._stalled or self.landed.done()):
            await asyncio.wait({self.landed}, timeout=_STALLED_S)


class CacheControl(NamedTuple):
    """A request's `cache-control`.

    max_age: seconds that a kept response may be old.
    """

    no_store: bool
    no_cache: bool
    only_if_cached: bool
    max_age: float

    @classmethod
    def of(cls, scope: Scope) -> CacheControl:
        values = [value for name, value in scope["headers"] if name == b"cache-control"]
        if not values:
            return _ANY_ANSWER
        header = b",".join(values).lower()
        max_age = _MAX_AGE.search(header)
        return cls(
            no_store=b"no-store" in header,
            no_cache=b"no-cache" in header,
            only_if_cached=b"only-if-cached" in header,
            max_age=math.inf if max_age is None else int(max_age[1]),
        )


_ANY_ANSWER = CacheControl(no_store=False, no_cache=False, only_if_cached=False, max_age=math.inf)
"""What a request wants that does not say."""


def is_deterministic(path: str, json: dict[str, Any]) -> bool:
    """Whether a request is answered alike each time: embeddings, and text at temperature 0 or with a seed."""
    if path in _DETERMINISTIC_PATHS:
        return True
    if path not in TEXT_ROUTES or any(json.get(name) for name in _NONDETERMINISTIC_FIELDS):
        return False
    if not _has_valid_delivery(json):
        return False
    temperature = json.get("temperature")
    greedy = isinstance(temperature, (int, float)) and temperature == 0
    return greedy or _is_seed(json.get("seed"))


def _is_seed(value: Any) -> bool:
    """Whether each engine draws from it, and none takes it for a wish for a random one."""
    return isinstance(value, int) and 0 <= value < _RANDOM_SEED


def _has_valid_delivery(json: dict[str, Any]) -> bool:
    """Whether the fields that are not part of the digest are what they should be; if not, the engine says so.

    Options that an engine has of its own are the engine's to act on.
    """
    stream = json.get("stream")
    options = json.get("stream_options")
    if options is not None:
        known = isinstance(options, dict) and options.keys() <= {"include_usage"}
        if stream is not True or not known or not _is_choice(options.get("include_usage")):
            return False
    return _is_choice(stream)


def _is_choice(value: Any) -> bool:
    """Whether it is true, false or left out; 1, which Python takes for true, is none of them."""
    return value is None or isinstance(value, bool)


def _not_cached() -> APIError:
    return APIError("There is no cached answer to this request.", status=504, code="not_cached")


def _digest(owner: str, path: str, json: dict[str, Any]) -> bytes:
    """What equal requests have in common, however each wants its response sent.

    Args:
        owner: the name of the key whose entries they are; empty for those of all.
    """
    content = {name: value for name, value in json.items() if name not in _DELIVERY_FIELDS}
    return hashlib.sha256(msgspec.json.encode([owner, path, content], order="deterministic")).digest()


def _cache_status(result: str) -> Headers:
    return [(b"cache-status", f"engineroom; {result}".encode())]


class _CountedTokens(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _CachedBody(msgspec.Struct):
    """The part of a kept response that says what it took; the rest is not decoded."""

    usage: _CountedTokens | None = None


async def _respond(scope: Scope, send: Send, entry: Entry, json: dict[str, Any], result: str) -> None:
    """Send a kept response, its tokens counted as those of this request."""
    counted = msgspec.json.decode(entry.body, type=_CachedBody).usage
    if counted is not None:
        usage = get_usage(scope)
        usage.prompt_tokens = counted.prompt_tokens
        usage.completion_tokens = counted.completion_tokens
    await send_answer(send, entry.body, json, _cache_status(result))
