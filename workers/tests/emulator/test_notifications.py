"""Waiting for a change: who is woken, and what is never lost."""

from __future__ import annotations

import asyncio

from engineroom_workers.emulator.management.logs import Log
from engineroom_workers.emulator.notifications import Notification


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_one_that_waited_longest_is_woken_first() -> None:
    notification = Notification()
    first = asyncio.ensure_future(notification.wait())
    second = asyncio.ensure_future(notification.wait())
    await settle()
    notification.notify_one()
    await settle()
    assert (first.done(), second.done(), notification.waiters) == (True, False, 1)
    notification.notify_all()
    await second


async def test_one_that_is_cancelled_as_it_is_woken_wakes_the_next() -> None:
    notification = Notification()
    first = asyncio.ensure_future(notification.wait())
    second = asyncio.ensure_future(notification.wait())
    await settle()
    notification.notify_one()
    first.cancel()
    await asyncio.wait_for(second, 60)
    assert first.cancelled()


async def test_one_that_is_cancelled_waits_no_more() -> None:
    notification = Notification()
    waiting = asyncio.ensure_future(notification.wait())
    await settle()
    waiting.cancel()
    # Notified before the cancelled task has run: there is nobody to wake, and nobody to pass it on to.
    notification.notify_one()
    await asyncio.gather(waiting, return_exceptions=True)
    assert notification.waiters == 0


async def test_a_change_before_a_task_has_begun_to_wait_is_seen() -> None:
    notification = Notification()
    changed = False
    waiting = asyncio.ensure_future(notification.wait_for(lambda: changed))
    changed = True
    notification.notify_all()
    await asyncio.wait_for(waiting, 60)


async def test_a_cancellation_is_not_forgotten_where_it_comes_with_what_was_waited_for() -> None:
    log = Log()
    waiting = asyncio.ensure_future(log.more_than(0, 60))
    await settle()
    log.container("a line")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
