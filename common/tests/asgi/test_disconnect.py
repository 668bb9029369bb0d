"""The race between work, a client that leaves, a time limit and a server that closes."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from engineroom.asgi import ClientDisconnected, Message, RequestTimeoutError, race


class Client:
    """A client that stays until it is told to leave."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


class Work:
    """Work without an end; knows whether it was cancelled."""

    cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
def work() -> Work:
    return Work()


async def test_work_that_ends_first_gives_its_result_or_its_error() -> None:
    async def one() -> int:
        return 1

    async def wrong() -> int:
        raise asyncio.TimeoutError("the work's own")

    assert await race(one(), Client().receive, 60) == 1
    with pytest.raises(asyncio.TimeoutError, match="the work's own") as error:
        await race(wrong(), Client().receive, 60)
    assert not isinstance(error.value, RequestTimeoutError)


async def test_a_client_that_leaves_ends_the_work(work: Work) -> None:
    client = Client()
    asyncio.get_running_loop().call_soon(client.leaves.set)
    with pytest.raises(ClientDisconnected):
        await race(work.run(), client.receive)
    assert work.cancelled


async def test_a_time_that_is_up_ends_the_work(work: Work) -> None:
    with pytest.raises(RequestTimeoutError):
        await race(work.run(), Client().receive, 0.01)
    assert work.cancelled


async def test_a_server_that_closes_ends_the_work_of_all_with_its_reason() -> None:
    works = [Work(), Work()]
    closing: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
    racing = [asyncio.ensure_future(race(work.run(), Client().receive, 60, closing)) for work in works]
    await asyncio.sleep(0.01)
    closing.set_exception(ValueError("closing"))
    for one in racing:
        with pytest.raises(ValueError, match="closing"):
            await one
    assert all(work.cancelled for work in works)
