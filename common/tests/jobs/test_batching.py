"""Batches of a stream: sizes that grow, and drain."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from engineroom.asgi import Pump
from engineroom.jobs import BatchSize, Pace, batched, drained
from engineroom.jobs.batching import _WINDOW_S, fit_gap


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (BatchSize(), [1, 3, 9, 27, 50, 50]),
        (BatchSize(50, 1, 1), [50, 50, 50, 50, 50, 50]),
        (BatchSize(5, 5), [5, 5, 5, 5, 5, 5]),
        (BatchSize(5, 9), [5, 5, 5, 5, 5, 5]),
        (BatchSize(10, 2, 1.5), [2, 3, 4, 6, 10, 10]),
    ],
)
def test_sizes(size: BatchSize, expected: list[int]) -> None:
    assert list(itertools.islice(size.sizes(), 6)) == expected


async def numbers(count: int, started: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if started is not None:
            started.append(number)
        yield number
        await asyncio.sleep(0)


async def test_batches_have_their_sizes_and_lose_nothing() -> None:
    batches = [list(batch) async for batch in batched(Pump(numbers(20)), BatchSize(8, 1, 2), tokens=lambda piece: 1)]
    assert [len(batch) for batch in batches] == [1, 2, 4, 8, 5]
    assert list(itertools.chain.from_iterable(batches)) == list(range(20))


async def test_drain_takes_all_that_came_meanwhile() -> None:
    batches = []
    async for batch in drained(Pump(numbers(50)), Pace()):
        batches.append(list(batch))
        for _ in range(200):  # Rounds of the loop in place of time, which may pass without any.
            await asyncio.sleep(0)
    assert list(itertools.chain.from_iterable(batches)) == list(range(50))
    assert len(batches) <= 3


async def test_drain_does_not_wait_for_more() -> None:
    forever = asyncio.Event()

    async def one() -> AsyncIterator[str]:
        yield "first"
        await forever.wait()

    pump = Pump(one())
    batches = drained(pump, Pace())
    assert list(await asyncio.wait_for(anext(batches), 60)) == ["first"]
    await batches.aclose()
    await pump.aclose()


async def test_pump_reads_ahead_within_bounds_and_raises_last() -> None:
    started: list[int] = []
    pump = Pump(numbers(1000, started), ahead=10)
    await pump.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(started) <= 11
    await pump.aclose()

    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ValueError("the end")

    seen = []

    async def read() -> None:
        async for batch in drained(Pump(failing()), Pace()):
            seen.extend(batch)

    with pytest.raises(ValueError, match="the end"):
        await read()
    assert seen == [1]


async def test_closing_a_pump_closes_its_iterator() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    pump = Pump(endless())
    await pump.wait()
    await pump.aclose()
    assert closed.is_set()


def test_the_gap_fits_the_load() -> None:
    assert fit_gap(0, load=0.9, interval=0.02, longest=0.25) == 0
    assert fit_gap(0, load=1.4, interval=0.02, longest=0.25) == pytest.approx(0.028)
    assert fit_gap(0.05, load=0.8, interval=0.1, longest=0.25) == pytest.approx(0.04)
    assert fit_gap(0.2, load=2, interval=0.2, longest=0.25) == 0.25


async def test_pace_holds_streams_back_while_the_loop_is_busy_and_lets_go_after() -> None:
    seconds = {"clock": 0.0, "cpu": 0.0}
    pace = Pace(clock=lambda: seconds["clock"], cpu=lambda: seconds["cpu"])
    with pace.stream() as stream:
        await stream.wait()
        stream.count_send()
        seconds["clock"], seconds["cpu"] = 0.1, 0.1
        pace._measure()
        assert pace.gap > 0
        for _ in range(20):
            seconds["clock"] += 0.1
            pace._measure()
        assert pace.gap == 0
    # Each look has set a timer on the loop that all tests share, and no test after this one moves its clock.
    seconds["clock"] += 0.1
    await asyncio.sleep(_WINDOW_S)
