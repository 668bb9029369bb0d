"""Tokens on a clock: a time to the first, then so many a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import TypeVar

T = TypeVar("T")


async def paced(tokens: Iterable[T], ttft: float, per_second: float) -> AsyncGenerator[T, None]:
    """Yield token `k` not before `ttft + k / per_second` seconds; a `per_second` of 0 sets no pace.

    The schedule is absolute: a late token does not delay those after it, so the mean rate is exact. Tokens that
    are due together come without a sleep between them, which makes a rate above the timer's resolution cheap.
    """
    clock = asyncio.get_running_loop().time
    start = clock() + ttft
    if ttft:
        await asyncio.sleep(ttft)
    interval = 1 / per_second if per_second else 0.0
    due = start
    now = start
    for number, token in enumerate(tokens):
        if interval:
            due = start + number * interval
            if due > now and due > (now := clock()):
                await asyncio.sleep(due - now)
                now = clock()
        yield token
