"""When Redis counts as away."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer

from engineroom_workers.http.redis import RedisAway, RedisLink


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def test_a_busy_loop_is_no_outage(redis: RedisServer) -> None:
    """It was: a burst kept the loop from reading for half a second, and each worker had limits of its own then."""
    link = RedisLink(redis.url)
    asking = [asyncio.ensure_future(link.ask(lambda: link.client.get("x"))) for _ in range(3)]
    while not all(asked.done() for asked in asking):
        time.sleep(0.3)  # noqa: ASYNC251 - the loop is to be kept busy
        await asyncio.sleep(0)
    assert await asyncio.gather(*asking) == [None] * 3
    assert link.up
    await link.close()


async def test_one_that_does_not_answer_is_away_until_it_does(redis: RedisServer) -> None:
    link = RedisLink(redis.url)
    assert await link.ask(lambda: link.client.set("x", "y"))
    redis.signal(signal.SIGSTOP)
    try:
        for _ in range(2):
            with pytest.raises(RedisAway):
                await link.ask(lambda: link.client.get("x"))
        assert not link.up
    finally:
        redis.signal(signal.SIGCONT)
    deadline = time.monotonic() + 60
    while not link.up:
        assert time.monotonic() < deadline
        try:
            assert await link.ask(lambda: link.client.get("x")) == b"y"
        except RedisAway:
            await asyncio.sleep(0.1)
    await link.close()


async def test_one_who_leaves_leaves_no_question_behind(redis: RedisServer) -> None:
    link = RedisLink(redis.url)
    redis.signal(signal.SIGSTOP)
    try:
        before = asyncio.all_tasks()
        asking = asyncio.ensure_future(link.ask(lambda: link.client.get("x")))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asyncio.all_tasks() == before
        assert link.up
    finally:
        redis.signal(signal.SIGCONT)
    assert await link.ask(lambda: link.client.get("x")) is None
    await link.close()
