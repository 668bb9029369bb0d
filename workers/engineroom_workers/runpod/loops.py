"""The three things a worker does all its life: take jobs, hear which to stop, say that it lives."""

from __future__ import annotations

import asyncio
import logging
import random
import time

from .jobs import Jobs
from .platform import Busy, DeliveryError, Platform

logger = logging.getLogger(__name__)

_HELD = 0.5
"""Seconds that an empty poll must have taken to count as held by the platform; others are asked again later."""


async def take(platform: Platform, jobs: Jobs, stopping: asyncio.Future[None]) -> None:
    """Take jobs until `stopping`: the next as soon as there is room, as many at a time as there is room for.

    To end it, set `stopping` and call `platform.stop_taking()`; a job that comes with the last poll is started.
    """
    trouble, empty = Backoff(0.2, 10), Backoff(0.05, 1)
    while True:
        room: asyncio.Future[int] = asyncio.ensure_future(jobs.room())
        await asyncio.wait((room, stopping), return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            room.cancel()
            return
        asked, delay = time.monotonic(), 0.0
        try:
            taken = await platform.take(room.result())
        except Busy:
            delay = trouble.next()
            logger.warning("the platform asks for fewer requests; the next in %.1f s", delay)
        except Exception as error:
            delay = trouble.next()
            logger.warning(
                "no jobs could be taken (%s: %s); the next attempt in %.1f s", type(error).__name__, error, delay
            )
        else:
            trouble.reset()
            started = [jobs.start(job) for job in taken]
            if any(started) or time.monotonic() - asked > _HELD:
                empty.reset()
            else:
                delay = empty.next()
        if delay:
            await asyncio.wait({stopping}, timeout=delay)


async def hear_stops(platform: Platform, jobs: Jobs) -> None:
    """Stop the jobs that the platform wants stopped: cancelled ones, and those whose time is up."""
    trouble, empty = Backoff(0.2, 10), Backoff(0.1, 1)
    while True:
        asked = time.monotonic()
        try:
            stopped = await platform.stop_signals()
        except Exception as error:
            delay = trouble.next()
            logger.log(
                logging.DEBUG if isinstance(error, Busy) else logging.WARNING,
                "cannot hear which jobs to stop (%s: %s); the next attempt in %.1f s",
                type(error).__name__,
                error,
                delay,
            )
            await asyncio.sleep(delay)
            continue
        trouble.reset()
        jobs.stop(stopped)
        if stopped or time.monotonic() - asked > _HELD:
            empty.reset()
        else:
            await asyncio.sleep(empty.next())


async def ping(platform: Platform) -> None:
    """Tell the platform that this worker lives, and which jobs it has.

    From this event loop and nowhere else: a worker whose loop hangs, or that was killed, stops looking alive.
    """
    if not platform.pings:
        logger.info("no pings are sent: RUNPOD_WEBHOOK_PING or RUNPOD_AI_API_KEY is not set")
        await asyncio.Event().wait()
    while True:
        try:
            await platform.ping()
            delay = platform.ping_interval
        except DeliveryError as error:
            delay = min(2.0, platform.ping_interval)
            logger.warning("a ping was lost: the platform %s", error)
        await asyncio.sleep(max(delay, 0.1))


class Backoff:
    """Delays that double from `first` to `longest` seconds, each shortened at random by up to a half.

    The chance keeps the workers of an endpoint from coming back all at once.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def next(self) -> float:
        """The next delay in seconds."""
        delay, self._next = self._next, min(2 * self._next, self._longest)
        return delay * random.uniform(0.5, 1)

    def reset(self) -> None:
        """Begin again at `first`."""
        self._next = self._first
