"""Clients that leave: noticed while something else is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from .types import ON_LEAVE, Receive, Scope

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client closed its connection; nobody waits for a response any more."""


class RequestTimeoutError(asyncio.TimeoutError):
    """The time for a request was up. A class of its own, so that it is not taken for a timeout that the work raised."""


async def disconnected(receive: Receive) -> None:
    """Return once the client has closed its connection. Only after its request was read; cancel it freely."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Departure(Protocol):
    """The leaving of one request's client, as a server tells of it; one may watch it at a time."""

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the client has left; at once, where it has. Only after the request was read."""

    def forget(self) -> None:
        """Call nothing any more."""


class InterruptibleRequest:
    """Serves one request in the task that calls `run`, and can be ended from outside.

    `race` gives the work a task of its own and waits for it beside others, which takes 60 µs a request; this takes
    five. Its work is cancelled as a task is: what it awaits raises `asyncio.CancelledError`.
    """

    __slots__ = ("_interrupted", "_reason", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        """The one that runs it, while it does."""
        self._reason: Exception | None = None
        self._interrupted = False

    def end(self, reason: Exception) -> None:
        """Let `run` raise `reason`, unless it has ended, or another reason came first.

        What the work has at hand by now still goes its way: the cancellation waits for one turn of the loop.
        """
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.get_loop().call_soon(self._interrupt)

    def _interrupt(self) -> None:
        if self._task is not None:
            self._interrupted = True
            self._task.cancel()

    async def run(self, work: Awaitable[None], scope: Scope, receive: Receive, timeout: float) -> None:
        """Await `work`, unless the client leaves, the time is up or `end` is called before.

        The work has ended when this returns.

        Args:
            timeout: seconds.

        Raises:
            ClientDisconnected: the client left first.
            RequestTimeoutError: the time was up first.
            Exception: whatever `work` raises, or the reason of `end`.
        """
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        timer = task.get_loop().call_later(timeout, self._time_out)
        departure: Departure | None = scope.get(ON_LEAVE)
        leaving: asyncio.Future[None] | None = None
        if departure is not None:
            departure.watch(self._leave)
        else:
            leaving = asyncio.ensure_future(disconnected(receive))
            leaving.add_done_callback(self._leave)
        try:
            await work
            if not self._interrupted:
                return
        except BaseException:
            if not self._interrupted:
                raise
        finally:
            self._task = None
            timer.cancel()
            if departure is not None:
                departure.forget()
            if leaving is not None:
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
        if _cancelled_by_others(task):
            raise asyncio.CancelledError
        raise self._take_reason()

    def _leave(self, _: Any = None) -> None:
        self.end(ClientDisconnected())

    def _time_out(self) -> None:
        self.end(RequestTimeoutError())

    def _take_reason(self) -> Exception:
        """The reason, which is not kept: its traceback will hold the frames that hold this."""
        reason = self._reason
        self._reason = None
        assert reason is not None
        return reason


def _cancelled_by_others(task: asyncio.Task[Any]) -> bool:
    """Whether a task is still to be cancelled once our own call has been taken back.

    Before Python 3.11 nobody can tell; the request ends in either case.
    """
    uncancel = getattr(task, "uncancel", None)
    return uncancel is not None and uncancel() > 0


async def race(
    work: Awaitable[T],
    receive: Receive,
    timeout: float | None = None,
) -> T:
    """The result of `work`, unless the client leaves or the time is up before.

    `work` is cancelled then, and has ended when this returns; `asyncio.shield` what belongs to somebody else.

    Args:
        timeout: seconds; None for no limit.

    Raises:
        ClientDisconnected: the client left first.
        RequestTimeoutError: the time was up first.
        Exception: whatever `work` raises.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnected(receive))
    racing: set[asyncio.Future[Any]] = {working, leaving}
    try:
        await asyncio.wait(racing, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        if leaving.done():
            raise ClientDisconnected
        raise RequestTimeoutError
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        # What we raise has this frame in its traceback, and the task has what we raise: without a collection neither
        # would ever go, nor the request that the frames hold.
        racing.clear()
        del working, leaving
