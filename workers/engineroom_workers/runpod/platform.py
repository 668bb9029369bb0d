"""The platform as the door sees it: take jobs, send what they yield, hear which to stop, say that we live."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

if TYPE_CHECKING:
    from .sdk import SDK

logger = logging.getLogger(__name__)

_LONGEST_POLL = 90.0
"""Seconds until a poll counts as forgotten, as in the SDK."""
_LAST_WORD = 5.0
"""Seconds the platform has to close a poll once we have hung up."""
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_RETRIES = (0.1, 0.5, 1, 2, 4, 8)
"""Seconds before each further attempt at a POST."""
_TRY_AGAIN = {408, 425, 429}


class DeliveryError(Exception):
    """Something could not be brought to the platform.

    rejected: it was understood and refused, so that trying again is of no use.
    """

    def __init__(self, reason: str, rejected: bool = False) -> None:
        super().__init__(reason)
        self.rejected = rejected


class Busy(Exception):
    """The platform asks for fewer requests (429)."""


class Platform:
    """One worker's connections to the platform. Make it in a running loop; `await close()`."""

    def __init__(self, sdk: SDK) -> None:
        self._sdk = sdk
        self._line = HangUp()
        self._stopped = False
        self._polls = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._line),
            headers=sdk.headers,
            timeout=aiohttp.ClientTimeout(total=600),
        )
        # No pooled connection is shared with the polls: those are hung up.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers=sdk.headers, timeout=_TIMEOUT
        )

    async def close(self) -> None:
        await self._polls.close()
        await self._session.close()

    async def take(self, most: int) -> list[dict[str, Any]]:
        """Wait for jobs, at most `most`; none where there was none for as long as the platform holds a poll.

        Cancelling this may lose a job; `stop_taking` makes it return without.

        Raises:
            Busy: too many requests.
            Exception: the platform cannot be reached or understood.
        """
        if not self._stopped:
            self._line.hung_up = False
        poll = asyncio.ensure_future(self._sdk.get_job(self._polls, most))
        try:
            await asyncio.wait({poll}, timeout=_LONGEST_POLL)
            if not poll.done():
                self._line.hang_up()
                await asyncio.wait({poll}, timeout=_LAST_WORD)
            return (poll.result() or []) if poll.done() else []
        except self._sdk.too_many_requests as error:
            raise Busy from error
        except (aiohttp.ClientError, OSError):
            if self._line.hung_up:
                return []
            raise
        finally:
            poll.cancel()

    def stop_taking(self) -> None:
        """Tell the platform that no more jobs are wanted; a poll under way returns with what it already has."""
        self._stopped = True
        self._line.hang_up()

    async def stop_signals(self) -> list[str]:
        """Wait for the ids of jobs to be stopped; none after as long as the platform holds a poll."""
        # Not wait_for: where the poll ends at the moment of a cancellation, it forgets the cancellation.
        poll = asyncio.ensure_future(self._sdk.get_stop_signals(self._session))
        try:
            await asyncio.wait({poll}, timeout=_LONGEST_POLL)
            return poll.result() if poll.done() else []
        except self._sdk.too_many_requests as error:
            raise Busy from error
        finally:
            poll.cancel()

    async def stream(self, job_id: str, item: Any) -> None:
        """Send one item of a job's stream. Raises DeliveryError."""
        await self._post(self._sdk.stream_url, "false", job_id, msgspec.json.encode({"output": item}))

    async def done(self, job_id: str, result: bytes) -> None:
        """Send a job's result, `{"output": [item, …]}` or `{"error": text}`. Raises DeliveryError."""
        await self._post(self._sdk.done_url, "true", job_id, result)

    async def _post(self, template: str, is_stream: str, job_id: str, body: bytes) -> None:
        url = f"{template.replace('$ID', job_id)}&isStream={is_stream}"
        headers = {
            "X-Request-ID": job_id,
            "charset": "utf-8",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        await self._send(url, body, headers, _RETRIES)

    async def _send(self, url: str, body: bytes, headers: dict[str, str], retries: Sequence[float]) -> None:
        for delay in (*retries, None):
            try:
                async with self._session.post(url, data=body, headers=headers) as response:
                    await response.read()
                    if response.status < 400:
                        return
                    reason = f"answered with {response.status}"
                    if response.status < 500 and response.status not in _TRY_AGAIN:
                        raise DeliveryError(reason, rejected=True)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                reason = f"not reached: {error!r}"
            if delay is not None:
                logger.debug("the platform %s; trying again in %g s", reason, delay)
                await asyncio.sleep(delay)
        raise DeliveryError(reason)

    @property
    def pings(self) -> bool:
        """Whether the platform wants pings: not where its variables are missing, as in a test of one's own."""
        return self._sdk.ping_url not in ("", "PING_NOT_SET") and "RUNPOD_AI_API_KEY" in os.environ

    @property
    def ping_interval(self) -> float:
        return self._sdk.ping_interval

    async def ping(self, **fields: str | None) -> None:
        """Say that this worker lives and which jobs it has, or that it is unwell.

        Raises:
            DeliveryError: nobody heard it.
        """
        params = {"runpod_version": self._sdk.version, "job_id": self._sdk.jobs_in_progress.get_job_list(), **fields}
        try:
            async with self._session.get(
                self._sdk.ping_url.replace("$RUNPOD_POD_ID", self._sdk.worker_id),
                params={name: value for name, value in params.items() if value},
                headers={"Authorization": os.environ.get("RUNPOD_AI_API_KEY", "")},
                timeout=aiohttp.ClientTimeout(total=2 * max(self.ping_interval, 1)),
            ) as response:
                if response.status >= 400:
                    raise DeliveryError(f"answered with {response.status}")
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise DeliveryError(f"not reached: {error!r}") from error

    def job_begins(self, job_id: str) -> None:
        """Count a job as in progress, in what is told to the platform."""
        self._sdk.jobs_in_progress.add(job_id)

    def job_ends(self, job_id: str) -> None:
        self._sdk.jobs_in_progress.remove(job_id)


class HangUp:
    """The sockets of one HTTP session, and the means to close our half of them.

    A job that the platform hands out at the moment when we cancel a poll would be gone: it is on its way, and nobody
    reads it. So the poll is not cancelled. Our half of its connection is closed, which tells the other side that
    nobody waits any longer, and whatever it had sent by then is still read.

    `aiohttp.TCPConnector(socket_factory=...)` takes the instance.
    """

    def __init__(self) -> None:
        self.hung_up = False
        self._sockets: list[socket.socket] = []

    def __call__(self, address: tuple[Any, ...]) -> socket.socket:
        if self.hung_up:
            # aiohttp tries a GET once more when its connection closes.
            raise OSError("hung up")
        made = socket.socket(address[0], address[1], address[2])
        made.setblocking(False)
        self._sockets = [*(known for known in self._sockets if known.fileno() >= 0), made]
        return made

    def hang_up(self) -> None:
        """Close our half of every connection, and let none be made."""
        self.hung_up = True
        for made in self._sockets:
            # One that is not connected yet has sent nothing; one that is closed already has nothing to lose.
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_WR)
