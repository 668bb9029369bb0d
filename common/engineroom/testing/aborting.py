"""Checks that a generation whose client has gone stops costing anything."""

from __future__ import annotations

import asyncio
import time

import msgspec

from ..openai.routes import CHAT_COMPLETIONS
from .responses import QUESTION
from .target import NotOffered, Target

_FREED_S = 10
_LONG = {"messages": QUESTION, "max_tokens": 2000}
_ENDLESS = {"ignore_eos": True}
"""A parameter of most engines; the answers of others end when the model ends them."""


async def leaving_a_stream_frees_the_engine(target: Target) -> None:
    """A client that leaves a stream ends its generation."""
    body = await _long_request(target, stream=True)
    async with target.call("POST", CHAT_COMPLETIONS, body) as answer:
        chunks = answer.__aiter__()
        await chunks.__anext__()
        await _until(target, 1)
    await _until(target, 0)


async def leaving_a_whole_answer_frees_the_engine(target: Target) -> None:
    """A client that does not wait for its whole answer ends its generation, too."""
    body = await _long_request(target, stream=False)

    async def ask() -> None:
        async with target.call("POST", CHAT_COMPLETIONS, body) as answer:
            await answer.read()

    asking = asyncio.ensure_future(ask())
    try:
        await _until(target, 1)
    except AssertionError:
        if asking.done():
            raise NotOffered("time to leave: it had answered before its client could go") from None
        raise
    finally:
        asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await _until(target, 0)


async def half_of_many_may_leave(target: Target) -> None:
    """Of many clients that stream at once half leave: the others get all of theirs, and nothing runs on."""
    await _idle(target)
    asked = {"model": await target.model(), "messages": QUESTION, "max_tokens": 20, **target.expects.fields}
    body = msgspec.json.encode({**asked, "stream": True})

    async def stream(leaves: bool) -> bytes:
        async with target.call("POST", CHAT_COMPLETIONS, body) as answer:
            return await (answer.__aiter__().__anext__() if leaves else answer.read())

    answers = await asyncio.gather(*(stream(leaves=bool(number % 2)) for number in range(12)))
    for answer in answers[::2]:
        end = answer[-200:]
        assert end.endswith(b"data: [DONE]\n\n"), f"a stream whose client stays goes on to [DONE]; it ended: {end!r}"
    await _until(target, 0)


async def _long_request(target: Target, *, stream: bool) -> bytes:
    await _idle(target)
    asked = {"model": await target.model(), **_LONG, **target.expects.fields}
    status, _ = await target.post(CHAT_COMPLETIONS, {**asked, **_ENDLESS, "max_tokens": 1})
    endless = _ENDLESS if status == 200 else {}
    return msgspec.json.encode({**asked, **endless, "stream": stream})


async def _idle(target: Target) -> None:
    """Raises NotOffered where it cannot be seen that a generation ends."""
    if not target.capabilities.abort:
        raise NotOffered("aborting a generation")
    if target.expects.running_metric is None:
        raise NotOffered("no metric of running generations is known; --running-metric names it")
    await _until(target, 0)


async def _until(target: Target, running: int) -> None:
    deadline = time.monotonic() + _FREED_S
    while True:
        now = await target.running()
        if now == running:
            return
        metric = target.expects.running_metric
        assert time.monotonic() < deadline, f"{metric} was to be {running} within {_FREED_S} s; it is {now:g}"
        await asyncio.sleep(0.05)


CHECKS = (leaving_a_stream_frees_the_engine, leaving_a_whole_answer_frees_the_engine, half_of_many_may_leave)
