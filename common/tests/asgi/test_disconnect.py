"""Work beside a client that leaves, a time limit and a server that closes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from engineroom.asgi import (
    ON_LEAVE,
    ClientDisconnected,
    InterruptibleRequest,
    Message,
    Receive,
    RequestTimeoutError,
    race,
)


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


class Door:
    """What tells of a client's departure by a call, as a server may."""

    callback: Callable[[], None] | None = None

    def watch(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def forget(self) -> None:
        self.callback = None

    def client_leaves(self) -> None:
        if self.callback is not None:
            self.callback()


async def nothing_to_receive() -> Message:
    raise AssertionError("who is told by a call need not receive")


async def serve(
    request: InterruptibleRequest, work: Awaitable[None], receive: Receive | None = None, door: Door | None = None
) -> None:
    scope = {} if door is None else {ON_LEAVE: door}
    await request.run(work, scope, receive or Client().receive, 60)


async def test_a_request_ends_with_its_work_or_its_works_error() -> None:
    async def right() -> None:
        await asyncio.sleep(0)

    async def wrong() -> None:
        raise asyncio.TimeoutError("the work's own")

    request = InterruptibleRequest()
    await serve(request, right())
    request.end(ValueError("too late"))  # Its task is somebody else's by now.
    await asyncio.sleep(0)
    with pytest.raises(asyncio.TimeoutError, match="the work's own") as error:
        await serve(InterruptibleRequest(), wrong())
    assert not isinstance(error.value, RequestTimeoutError)


async def test_a_request_ends_when_its_client_leaves(work: Work) -> None:
    client = Client()
    asyncio.get_running_loop().call_soon(client.leaves.set)
    with pytest.raises(ClientDisconnected):
        await serve(InterruptibleRequest(), work.run(), client.receive)
    assert work.cancelled


async def test_a_request_ends_when_its_server_tells_that_its_client_left(work: Work) -> None:
    door = Door()
    asyncio.get_running_loop().call_soon(door.client_leaves)
    with pytest.raises(ClientDisconnected):
        await serve(InterruptibleRequest(), work.run(), nothing_to_receive, door)
    assert work.cancelled
    assert door.callback is None


async def test_a_request_ends_when_its_time_is_up(work: Work) -> None:
    with pytest.raises(RequestTimeoutError):
        await InterruptibleRequest().run(work.run(), {}, Client().receive, 0.01)
    assert work.cancelled


async def test_requests_are_ended_with_a_reason_and_the_first_counts(work: Work) -> None:
    request = InterruptibleRequest()
    serving = asyncio.ensure_future(serve(request, work.run()))
    await asyncio.sleep(0.01)
    request.end(ValueError("closing"))
    request.end(ValueError("closing again"))
    with pytest.raises(ValueError, match=r"closing$"):
        await serving
    assert work.cancelled


async def test_a_task_that_was_ended_from_outside_is_cancelled(work: Work) -> None:
    serving = asyncio.ensure_future(serve(InterruptibleRequest(), work.run()))
    await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.wait({serving})
    assert serving.cancelled()
    assert work.cancelled


@pytest.mark.parametrize("fails", [False, True])
async def test_work_that_ends_in_the_same_turn_counts_and_no_cancellation_is_left(fails: bool) -> None:
    request = InterruptibleRequest()

    async def ends_itself() -> None:
        await asyncio.sleep(0)
        request.end(ValueError("closing"))
        if fails:
            raise KeyError

    with pytest.raises(KeyError) if fails else contextlib.nullcontext():
        await serve(request, ends_itself())
    await asyncio.sleep(0)  # A cancellation that was left over would arrive here.
    await asyncio.sleep(0)


async def test_what_is_at_hand_when_a_request_is_ended_still_goes_out() -> None:
    request = InterruptibleRequest()
    at_hand: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    sent: list[str] = []

    async def send_both() -> None:
        sent.append(await at_hand)
        await asyncio.Event().wait()

    serving = asyncio.ensure_future(serve(request, send_both()))
    await asyncio.sleep(0.01)
    at_hand.set_result("a token")
    request.end(ValueError("closing"))
    with pytest.raises(ValueError, match="closing"):
        await serving
    assert sent == ["a token"]


async def test_work_that_swallows_its_cancellation_has_ended_all_the_same() -> None:
    door = Door()

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    asyncio.get_running_loop().call_soon(door.client_leaves)
    with pytest.raises(ClientDisconnected):
        await serve(InterruptibleRequest(), stubborn(), nothing_to_receive, door)
    await asyncio.sleep(0)


async def test_no_request_keeps_what_it_served(work: Work) -> None:
    door = Door()
    asyncio.get_running_loop().call_soon(door.client_leaves)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(ClientDisconnected):
            await serve(InterruptibleRequest(), work.run(), nothing_to_receive, door)
        await asyncio.sleep(0)  # The loop lets go of the call that told it.
        kept = weakref.ref(door)
        del door
        assert kept() is None
    finally:
        gc.enable()
