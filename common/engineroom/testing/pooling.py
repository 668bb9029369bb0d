"""Checks of what an engine tells those who choose among workers: a pool's gateway, an autoscaler."""

from __future__ import annotations

import asyncio
import time

import msgspec

from ..openai.routes import CHAT_COMPLETIONS
from ..pool_gauges import PoolDialects
from ..pool_load import metric_values
from ..timeouts import timeout
from .responses import QUESTION
from .target import NotOffered, Target

_CLIENTS = 6
_NOTICED_S = 10
_READ_S = 3
"""In so long a client has read what was on its way to it. A stream that has not ended by then was running."""
_LONG = {"messages": QUESTION, "max_tokens": 2000, "stream": True}
_ENDLESS = {"ignore_eos": True}
"""A parameter of most engines; the answers of others end when the model ends them."""


async def pools_see_its_load(target: Target) -> None:
    """The gauges that a pool chooses by are there, each once, and count the requests whose clients wait."""
    gauges = await _gauges(target)
    await _until(target, 0)
    assert 0 <= gauges.cache_usage <= 1, f"the cache's usage is from 0 to 1; it is {gauges.cache_usage:g}"
    asked = {"model": await target.model(), **_LONG, **target.expects.fields}
    status, _ = await target.post(CHAT_COMPLETIONS, {**asked, **_ENDLESS, "max_tokens": 1, "stream": False})
    body = msgspec.json.encode({**asked, **(_ENDLESS if status == 200 else {})})
    begun = asyncio.Event()
    reads_on = asyncio.Event()

    async def stream() -> None:
        async with target.call("POST", CHAT_COMPLETIONS, body) as answer:
            pieces = answer.__aiter__()
            await pieces.__anext__()
            begun.set()
            await reads_on.wait()
            async for _ in pieces:
                pass

    clients = [asyncio.ensure_future(stream()) for _ in range(_CLIENTS)]
    try:
        try:
            gauges = await _until(target, _CLIENTS)
        except AssertionError:
            reads_on.set()
            done, _ = await asyncio.wait(clients, timeout=_READ_S)
            if done:
                raise NotOffered("time to look: it has answered already when its gauges are read") from None
            raise
        async with timeout(_NOTICED_S):
            await begun.wait()
        gauges = await _until(target, _CLIENTS, running=1)
        assert 0 <= gauges.cache_usage <= 1, f"the cache's usage is from 0 to 1; it is {gauges.cache_usage:g}"
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    await _until(target, 0)


class PoolReading:
    """What a pool reads: requests that run, requests that wait, and the usage of the cache, 0 to 1."""

    def __init__(self, running: float, waiting: float, cache_usage: float) -> None:
        self.running = running
        self.waiting = waiting
        self.cache_usage = cache_usage


async def _gauges(target: Target) -> PoolReading:
    """What a pool reads of it now.

    Raises:
        NotOffered: a server of which nothing is known has none of the gauges.
    """
    text = await target.pool_metrics()
    known = PoolDialects.load()
    dialect = known.dialects[known.default]
    names = (dialect.running, dialect.waiting, dialect.cache_usage)
    series = {name: metric_values(text, name) for name in names}
    if target.capabilities.assumed and not any(series.values()):
        raise NotOffered(f"the gauges of a pool ({', '.join(names)})")
    for name, values in series.items():
        assert len(values) == 1, f"a pool reads one line of {name}; there are {len(values)}"
        assert f"# TYPE {name} gauge\n" in text, f"{name} is a gauge, but its type does not say so"
    return PoolReading(*(series[name][0] for name in names))


async def _until(target: Target, clients: int, running: int = 0) -> PoolReading:
    deadline = time.monotonic() + _NOTICED_S
    while True:
        gauges = await _gauges(target)
        if gauges.running + gauges.waiting == clients and gauges.running >= running:
            return gauges
        assert time.monotonic() < deadline, (
            f"{clients} clients wait, and at least {running} requests run; the gauges have {gauges.running:g} running "
            f"and {gauges.waiting:g} waiting after {_NOTICED_S} s"
        )
        await asyncio.sleep(0.05)


CHECKS = (pools_see_its_load,)
