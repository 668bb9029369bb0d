"""The bounded buffer between a producer and a reader."""

from __future__ import annotations

import asyncio

import pytest

from engineroom.asgi import StreamBuffer


async def rest() -> None:
    """Rounds of the loop in place of time, which may pass without any."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_full_buffer_holds_its_producers_until_there_is_room() -> None:
    buffer: StreamBuffer[bytes] = StreamBuffer(10, size=len)
    buffer.put([b"12345"])
    await asyncio.wait_for(buffer.space(), 60)
    buffer.put([b"67890"])
    producers = [asyncio.ensure_future(buffer.space()) for _ in range(2)]
    await rest()
    assert not any(producer.done() for producer in producers)
    assert buffer.pop() == b"12345"
    await asyncio.wait_for(asyncio.gather(*producers), 60)
    assert buffer.drain() == [b"67890"]


async def test_closing_lets_producers_go_and_drops_what_they_still_put() -> None:
    buffer: StreamBuffer[int] = StreamBuffer(1)
    buffer.put([1])
    producer = asyncio.ensure_future(buffer.space())
    await rest()
    buffer.close()
    await asyncio.wait_for(producer, 60)
    buffer.put([2])
    assert await buffer.wait()
    assert buffer.drain() == [1]
    assert not await buffer.wait()


async def test_an_error_comes_after_what_was_good_and_the_first_counts() -> None:
    buffer: StreamBuffer[int] = StreamBuffer(10)
    buffer.put([1, 2])
    buffer.close(ValueError("first"))
    buffer.close(ValueError("second"))
    assert await buffer.wait()
    assert buffer.drain() == [1, 2]
    with pytest.raises(ValueError, match="first"):
        await buffer.wait()


async def test_a_reader_sleeps_until_there_is_something() -> None:
    buffer: StreamBuffer[int] = StreamBuffer(10)
    reader = asyncio.ensure_future(buffer.wait())
    await rest()
    assert not reader.done()
    buffer.put([1])
    assert await asyncio.wait_for(reader, 60)
    assert buffer.drain() == [1]
    reader = asyncio.ensure_future(buffer.wait())
    await rest()
    buffer.close()
    assert not await asyncio.wait_for(reader, 60)


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    buffer: StreamBuffer[int] = StreamBuffer(10)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(buffer.wait(), 0.01)
    buffer.put([1])
    assert await buffer.wait()
    assert buffer.drain() == [1]
