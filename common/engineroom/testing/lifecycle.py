"""Checks of an engine's life: its phases, a failed start, a double stop, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import msgspec

from ..asgi.client import request
from ..engine import Engine
from ..errors import EngineStartError
from ..process.reaper import descendants
from .answering import CHAT, QUESTION
from .target import NotOffered

_OUTAGE_S = 60


@dataclass(frozen=True)
class Lifecycle:
    """How to make engines of one kind, each configured and not started.

    make: one that will start.
    make_broken: one whose start fails; None where no such thing can be made.
    kill: make a started engine die as it would in an accident; None where that cannot be done.
    outage: take the server of a started engine away for as long as the block lasts; None for an engine whose server
        is its own, and would be dead.
    """

    make: Callable[[], Engine]
    make_broken: Callable[[], Engine] | None = None
    kill: Callable[[Engine], Awaitable[None]] | None = None
    outage: Callable[[], AbstractAsyncContextManager[None]] | None = None


async def health_goes_through_its_phases(kinds: Lifecycle) -> None:
    """Loading is live and answers 503 with Retry-After; ready answers; stopped is neither live nor ready."""
    engine = kinds.make()
    try:
        before = engine.health()
        assert before.live
        assert not before.ready
        async with request(engine.app, "POST", CHAT, body=_body(engine)) as answer:
            assert answer.status == 503, f"answered {answer.status} while loading"
            assert "retry-after" in answer.headers
            assert msgspec.json.decode(await answer.read())["error"]["code"] == "engine_loading"
        await engine.start()
        assert engine.health().live
        assert engine.health().ready
        async with request(engine.app, "POST", CHAT, body=_body(engine)) as answer:
            assert answer.status == 200, await answer.read()
    finally:
        await engine.stop()
    assert not engine.health().live
    assert not engine.health().ready
    async with request(engine.app, "POST", CHAT, body=_body(engine)) as answer:
        assert answer.status == 503


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
    assert reason, "the start did not fail, or without a reason"
    assert not health.live
    assert health.reason


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
    async with request(engine.app, "POST", CHAT, body=body) as answer:
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
        assert await asyncio.wait_for(died, 60)
        assert not engine.health().live
        async with request(engine.app, "POST", CHAT, body=_body(engine)) as answer:
            assert answer.status == 503
            assert "retry-after" in answer.headers
            assert msgspec.json.decode(await answer.read())["error"]["code"] == "engine_dead"
    finally:
        await engine.stop()


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
            async with request(engine.app, "POST", CHAT, body=_body(engine)) as answer:
                assert answer.status == 503, f"answered {answer.status} while its server is away"
                assert "retry-after" in answer.headers
        await _becomes(engine, ready=True)
        async with request(engine.app, "POST", CHAT, body=_body(engine)) as answer:
            assert answer.status == 200, await answer.read()
        assert not died.done()
        died.cancel()
    finally:
        await engine.stop()


async def _becomes(engine: Engine, *, ready: bool) -> None:
    deadline = time.monotonic() + _OUTAGE_S
    while engine.health().ready != ready:
        assert engine.health().live, f"it is dead: {engine.health().reason}"
        assert time.monotonic() < deadline, f"ready did not become {ready}: {engine.health().reason}"
        await asyncio.sleep(0.05)
    assert engine.health().live


def _body(engine: Engine) -> bytes:
    return msgspec.json.encode({"model": engine.models[0], "messages": QUESTION, "max_tokens": 2})


async def _no_more_than(before: set[int]) -> None:
    deadline = time.monotonic() + 30
    while left := set(descendants(os.getpid())) - before:
        assert time.monotonic() < deadline, f"processes are left behind: {left}"
        await asyncio.sleep(0.05)


LIFECYCLE_CHECKS = (
    health_goes_through_its_phases,
    stop_is_idempotent,
    a_failed_start_says_why,
    a_cancelled_start_can_be_stopped,
    nothing_is_left_behind,
    death_is_noticed,
    an_outage_ends,
)
