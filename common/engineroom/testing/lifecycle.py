"""Checks of an engine's life: its phases, a failed start, a double stop, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from ..asgi.client import request
from ..asgi.types import Message, Scope
from ..engine import Engine
from ..errors import EngineStartError
from ..openai.body import Request, with_request
from ..openai.routes import CHAT_COMPLETIONS
from ..openai.usage import get_usage
from ..process.reaper import descendants
from ..timeouts import timeout
from .responses import QUESTION
from .running import stopped
from .target import NotOffered

_OUTAGE_S = 60
_NOTICED_S = 60
_METRICS_S = 30


@dataclass(frozen=True)
class Lifecycle:
    """How to make engines of one kind, each configured and not started.

    make: one that will start.
    make_broken: one whose start fails; None where no such thing can be made.
    kill: make a started engine die as it would in an accident; None where that cannot be done.
    outage: take the server of a started engine away for as long as the block lasts; None for an engine whose server
        is its own, and would be dead.
    hang: make a started engine hang for as long as the block lasts. By default its processes are stopped (SIGSTOP), or
        in this process nothing is generated. An engine with threads that do its work has to block those.

    Engines that `make` gives notice a hang the sooner the lower their ENGINE_HANG_TIMEOUT is: 20 makes the check quick.
    """

    make: Callable[[], Engine]
    make_broken: Callable[[], Engine] | None = None
    kill: Callable[[Engine], Awaitable[None]] | None = None
    outage: Callable[[], AbstractAsyncContextManager[None]] | None = None
    hang: Callable[[Engine], AbstractContextManager[None]] | None = None


async def health_goes_through_its_phases(kinds: Lifecycle) -> None:
    """Loading is live and answers 503 with Retry-After; ready answers; stopped is neither live nor ready."""
    engine = kinds.make()
    try:
        _check_health(engine, "before its start", live=True, ready=False)
        await _check_unavailable(engine, "while it loads", code="engine_loading")
        await engine.start()
        _check_health(engine, "after its start", live=True, ready=True)
        await _check_answers(engine, "after its start")
        await _check_sharing(engine)
    finally:
        await engine.stop()
    _check_health(engine, "after its stop", live=False, ready=False)
    async with request(engine.app, "POST", CHAT_COMPLETIONS, body=_body(engine)) as answer:
        assert answer.status == 503, f"a stopped engine answers 503; it was {answer.status}"


async def stop_is_idempotent(kinds: Lifecycle) -> None:
    """`stop` works without a start, and twice."""
    engine = kinds.make()
    await engine.stop()
    await engine.stop()
    engine = kinds.make()
    await engine.start()
    await engine.stop()
    await engine.stop()


async def a_failed_start_says_why(kinds: Lifecycle) -> None:
    """A start that fails raises EngineStartError with a reason, and can be stopped."""
    if kinds.make_broken is None:
        raise NotOffered("a start that fails")
    engine = kinds.make_broken()
    reason = ""
    try:
        await engine.start()
    except EngineStartError as error:
        reason = str(error)
    finally:
        health = engine.health()
        await engine.stop()
    assert reason, "a start that fails raises EngineStartError with a reason; it did not fail, or gave none"
    assert not health.live, f"after a failed start an engine is not live; its health: {health}"
    assert health.reason, f"after a failed start health says why; its health: {health}"


async def a_cancelled_start_can_be_stopped(kinds: Lifecycle) -> None:
    """A start may be cancelled at any point; stop then cleans up."""
    children = set(descendants(os.getpid()))
    engine = kinds.make()
    start = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0.1)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await engine.stop()
    await _no_more_than(children)


async def nothing_is_left_behind(kinds: Lifecycle) -> None:
    """After `stop` no process of the engine's is left, also with a generation under way."""
    children = set(descendants(os.getpid()))
    engine = kinds.make()
    await engine.start()
    body = msgspec.json.encode({"model": engine.models[0], "messages": QUESTION, "stream": True, "max_tokens": 500})
    async with request(engine.app, "POST", CHAT_COMPLETIONS, body=body) as answer:
        await answer.__aiter__().__anext__()
        await engine.stop()
    await _no_more_than(children)


async def death_is_noticed(kinds: Lifecycle) -> None:
    """`died` returns with a reason, health says so, and requests are answered with 503 and Retry-After."""
    if kinds.kill is None:
        raise NotOffered("dying on request")
    engine = kinds.make()
    try:
        await engine.start()
        died = asyncio.ensure_future(engine.died())
        await asyncio.sleep(0)
        await kinds.kill(engine)
        done, _ = await asyncio.wait({died}, timeout=_NOTICED_S)
        assert done, f"`died` returns once the engine is dead; it did not within {_NOTICED_S} s"
        assert died.result(), "`died` returns why the engine died; it returned nothing"
        health = engine.health()
        assert not health.live, f"a dead engine is not live; its health: {health}"
        await _check_unavailable(engine, "when it is dead", code="engine_dead")
    finally:
        await engine.stop()


async def a_hang_is_noticed(kinds: Lifecycle) -> None:
    """An engine that hangs is live and not ready, and answers 503 with Retry-After; then all goes on, and is ready."""
    before = set(descendants(os.getpid()))
    engine = kinds.make()
    try:
        await engine.start()
        hang = kinds.hang(engine) if kinds.hang else _hang(engine, set(descendants(os.getpid())) - before)
        died = asyncio.ensure_future(engine.died())
        with hang:
            waiting = asyncio.ensure_future(_check_answers(engine, "once it goes on"))
            await _becomes(engine, ready=False)
            health = engine.health()
            assert health.hung, f"an engine that does not respond is `hung`; its health: {health}"
            await _check_unavailable(engine, "while it hangs")
            assert engine.hangs == 1, f"`hangs` counts a hang once, not {engine.hangs} times"
            async with timeout(_METRICS_S):
                await engine.metrics()
        await _becomes(engine, ready=True)
        await waiting
        await _check_answers(engine, "after a hang")
        assert not died.done(), f"a hang that ends in time is no death, but `died` returned: {died.result()!r}"
        died.cancel()
    finally:
        await engine.stop()


def _hang(engine: Engine, processes: set[int]) -> AbstractContextManager[None]:
    if processes:
        return stopped(processes)
    if hasattr(engine, "generate_tokens"):
        return _without_tokens(engine)
    raise NotOffered("processes or tokens of its own")


@contextmanager
def _without_tokens(engine: Any) -> Iterator[None]:
    generate_tokens = engine.generate_tokens
    ended = asyncio.Event()

    async def wait_and_generate(request: Any) -> AsyncGenerator[Any, None]:
        await ended.wait()
        async with aclosing(generate_tokens(request)) as tokens:
            async for token in tokens:
                yield token

    engine.generate_tokens = wait_and_generate
    try:
        yield
    finally:
        del engine.generate_tokens
        ended.set()


async def an_outage_ends(kinds: Lifecycle) -> None:
    """While its server is away an engine is live and not ready, and answers 503 with Retry-After; then it is ready."""
    if kinds.outage is None:
        raise NotOffered("a server that is elsewhere")
    engine = kinds.make()
    try:
        await engine.start()
        died = asyncio.ensure_future(engine.died())
        async with kinds.outage():
            await _becomes(engine, ready=False)
            await _check_unavailable(engine, "while its server is away")
        await _becomes(engine, ready=True)
        await _check_answers(engine, "after the outage")
        assert not died.done(), f"an outage is no death, but `died` returned: {died.result()!r}"
        died.cancel()
    finally:
        await engine.stop()


async def _becomes(engine: Engine, *, ready: bool) -> None:
    deadline = time.monotonic() + _OUTAGE_S
    while engine.health().ready != ready:
        health = engine.health()
        assert health.live, f"an outage is no death, but the engine is not live; its health: {health}"
        assert time.monotonic() < deadline, f"`ready` was to become {ready} within {_OUTAGE_S} s; its health: {health}"
        await asyncio.sleep(0.05)
    health = engine.health()
    assert health.live, f"an outage is no death, but the engine is not live; its health: {health}"


def _check_health(engine: Engine, when: str, *, live: bool, ready: bool) -> None:
    health = engine.health()
    assert health.live == live, f"{when} an engine is {'' if live else 'not '}live; its health: {health}"
    assert health.ready == ready, f"{when} an engine is {'' if ready else 'not '}ready; its health: {health}"


async def _check_answers(engine: Engine, when: str) -> None:
    async with request(engine.app, "POST", CHAT_COMPLETIONS, body=_body(engine)) as answer:
        text = await answer.read()
        assert answer.status == 200, f"{when} a chat is answered with 200; it was {answer.status}: {text!r}"


async def _check_sharing(engine: Engine) -> None:
    """What an engine shares is enough for another process to ask its server, and to count the tokens."""
    from ..server.joined import join_engine

    description = engine.share()
    if description is None:
        return
    joined = join_engine(description)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("a request that is checked has been read")

    headers = [(b"content-type", b"application/json")]
    scope: Scope = {"type": "http", "method": "POST", "path": CHAT_COMPLETIONS, "query_string": b"", "headers": headers}
    usage = get_usage(scope)
    json = {"model": engine.models[0], "messages": QUESTION, "max_tokens": 8, "stream": True}
    try:
        await joined.app(with_request(scope, Request(None, json)), receive, send)
    finally:
        await joined.close()
    assert sent[0]["status"] == 200, f"whom an engine is shared with gets an answer; it got {sent}"
    assert usage.completion_tokens, f"whom an engine is shared with counts its tokens; it counted {usage}"


async def _check_unavailable(engine: Engine, when: str, code: str | None = None) -> None:
    async with request(engine.app, "POST", CHAT_COMPLETIONS, body=_body(engine)) as answer:
        text = await answer.read()
        assert answer.status == 503, f"{when} an engine answers 503; it was {answer.status}: {text!r}"
        assert "retry-after" in answer.headers, f"{when} a 503 has Retry-After; its headers: {answer.headers}"
        if code is not None:
            error = msgspec.json.decode(text)["error"]
            assert error["code"] == code, f"{when} the error's code is {code}, not {error['code']!r}"


def _body(engine: Engine) -> bytes:
    return msgspec.json.encode({"model": engine.models[0], "messages": QUESTION, "max_tokens": 2})


async def _no_more_than(before: set[int]) -> None:
    deadline = time.monotonic() + 30
    while True:
        left = set(descendants(os.getpid())) - before
        if not left:
            return
        assert time.monotonic() < deadline, f"no process is left after `stop`; these are: {left}"
        await asyncio.sleep(0.05)


LIFECYCLE_CHECKS = (
    health_goes_through_its_phases,
    stop_is_idempotent,
    a_failed_start_says_why,
    a_cancelled_start_can_be_stopped,
    nothing_is_left_behind,
    death_is_noticed,
    a_hang_is_noticed,
    an_outage_ends,
)
