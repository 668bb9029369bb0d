"""The platform as the door sees it: it hands out jobs, takes their results, cancels jobs, and wants to hear pings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from .sdk import SDK

logger = logging.getLogger(__name__)

_LONGEST_POLL_S = 90.0
"""Seconds until a poll counts as forgotten, as in the SDK."""
_HANG_UP_S = 5.0
"""Seconds the platform has to close a poll once we have hung up."""
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_RETRIES_S = (0.1, 0.5, 1, 2, 4, 8)
"""Seconds before each further attempt at a POST."""
_RETRYABLE = {408, 425, 429}
"""Statuses below 500 after which another attempt may succeed."""


class DeliveryError(Exception):
    """The platform did not take something.

    rejected: the platform understood and refused it, so that trying again is of no use.
    """

    def __init__(self, reason: str, rejected: bool = False) -> None:
        super().__init__(reason)
        self.rejected = rejected


class PlatformBusy(Exception):
    """The platform asks for fewer requests (429)."""


class Platform:
    """One worker's connections to the platform. Make it in a running loop; `await close()`.

    outage: gets what fails, for the log.
    """

    def __init__(self, sdk: SDK) -> None:
        self._sdk = sdk
        self.outage = Outage()
        self._poll_sockets = PollSockets()
        self._stopped = False
        self._polls = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._poll_sockets),
            headers=sdk.headers,
            timeout=aiohttp.ClientTimeout(total=600),
            response_class=PollResponse,
        )
        # The polls have a session of their own, because their connections are closed when the worker stops.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers=sdk.headers, timeout=_TIMEOUT
        )

    async def close(self) -> None:
        await self._polls.close()
        await self._session.close()

    async def take(self, max_jobs: int) -> list[dict[str, Any]]:
        """Wait for jobs, at most `max_jobs`; none where there was none for as long as the platform holds a poll.

        Cancelling this may lose a job; `stop_taking` makes it return, and loses none.

        Raises:
            PlatformBusy: too many requests.
            Exception: the platform cannot be reached or understood.
        """
        if not self._stopped:
            self._poll_sockets.hung_up = False
        poll = asyncio.ensure_future(self._sdk.get_job(self._polls, max_jobs))
        try:
            await asyncio.wait({poll}, timeout=_LONGEST_POLL_S)
            if not poll.done():
                self._poll_sockets.hang_up()
                await asyncio.wait({poll}, timeout=_HANG_UP_S)
            return (poll.result() or []) if poll.done() else []
        except self._sdk.too_many_requests as error:
            raise PlatformBusy from error
        except (aiohttp.ClientError, OSError):
            if self._poll_sockets.hung_up:
                return []
            raise
        finally:
            poll.cancel()

    def stop_taking(self) -> None:
        """Tell the platform that no more jobs are wanted; a poll under way returns with what it already has."""
        self._stopped = True
        self._poll_sockets.hang_up()

    def pause_taking(self) -> None:
        """Want no more jobs for now; a poll under way returns with what it already has. The next `take` is as usual."""
        self._poll_sockets.hang_up()

    async def cancelled_jobs(self) -> list[str]:
        """Wait for the ids of jobs to be cancelled; none after as long as the platform holds a poll."""
        # Not wait_for: where the poll ends at the moment of a cancellation, it forgets the cancellation.
        poll = asyncio.ensure_future(self._sdk.get_stop_signals(self._session))
        try:
            await asyncio.wait({poll}, timeout=_LONGEST_POLL_S)
            return poll.result() if poll.done() else []
        except self._sdk.too_many_requests as error:
            raise PlatformBusy from error
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
        await self._send(url, body, headers, _RETRIES_S)

    async def _send(self, url: str, body: bytes, headers: dict[str, str], retries: Sequence[float]) -> None:
        for delay in (*retries, None):
            try:
                async with self._session.post(url, data=body, headers=headers) as response:
                    await response.read()
                    if response.status < 400:
                        return
                    reason = f"answered with {response.status}"
                    if response.status < 500 and response.status not in _RETRYABLE:
                        raise DeliveryError(reason, rejected=True)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                reason = f"not reached: {error!r}"
            if delay is not None:
                logger.debug("the platform %s; trying again in %g s", reason, delay)
                await asyncio.sleep(delay)
        raise DeliveryError(reason)

    @property
    def pings(self) -> bool:
        """Whether the platform wants pings. It does not where its variables are missing, as in a test of one's own."""
        return self._sdk.ping_url not in ("", "PING_NOT_SET") and "RUNPOD_AI_API_KEY" in os.environ

    @property
    def ping_interval(self) -> float:
        return self._sdk.ping_interval

    async def ping(self, **fields: str | None) -> None:
        """Say that this worker lives and which jobs it has, or that it is unwell.

        Raises:
            DeliveryError: the platform did not take it.
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
        """Name a job as in progress in the pings from now on."""
        self._sdk.jobs_in_progress.add(job_id)

    def job_ends(self, job_id: str) -> None:
        """Name a job in the pings no more."""
        self._sdk.jobs_in_progress.remove(job_id)


_OUTAGE_LINE_S = 60.0
_SHORT_OUTAGE_S = 5.0
"""An outage that is over sooner needs no line for its end."""


class Outage:
    """What fails between worker and platform, all of it together, in the log.

    A line as it begins, one a minute while it goes on, and one when it is over: a worker tries again every few seconds,
    for hours if need be, and a line for each attempt would fill its log with nothing else.

    Args:
        interval: seconds between two lines.
    """

    def __init__(self, interval: float = _OUTAGE_LINE_S) -> None:
        self._interval = interval
        self._failing: set[str] = set()
        self._began = 0.0
        self._attempts = 0
        self._quiet_until = float("-inf")

    def failed(self, doing: str, reason: object) -> None:
        """Note a failed attempt.

        Args:
            doing: what was tried, e.g. `taking jobs`.
        """
        now = time.monotonic()
        if not self._failing:
            self._began = now
            self._attempts = 0
        self._failing.add(doing)
        self._attempts += 1
        if now < self._quiet_until:
            return
        self._quiet_until = now + self._interval
        so_far = f" ({self._attempts} failed attempts in {now - self._began:.0f} s)" if self._attempts > 1 else ""
        logger.warning(
            "the platform fails: %s: %s%s; trying again, with a line every %g s", doing, reason, so_far, self._interval
        )

    def worked(self, doing: str) -> None:
        """Note that something works, which may have failed before."""
        if doing not in self._failing:
            return
        self._failing.remove(doing)
        lasted = time.monotonic() - self._began
        if not self._failing and lasted > _SHORT_OUTAGE_S:
            logger.info("the platform works again, after %.0f s and %d failed attempts", lasted, self._attempts)


class PollResponse(aiohttp.ClientResponse):
    """A response whose JSON is read whatever a client has written: a job that Python's reader gives up on would be
    lost here, and is refused by who answers it."""

    async def json(self, **options: Any) -> Any:
        return read_jobs((await self.read()).decode("utf-8", "replace"))


_READABLE_DEPTH = 200
"""Levels of nesting in which every input that may be answered fits, with the list of jobs around it."""
_READABLE_DIGITS = 400
"""Python reads integers of at most some thousand digits."""
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def read_jobs(text: str) -> Any:
    """JSON, and what Python's reader takes for it. What is nested too deeply for that is null, 200 levels down.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        return json.loads(_cut(text), parse_int=_integer)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _READABLE_DIGITS else float(digits)


def _cut(text: str) -> str:
    """The JSON with null for each object and array that is nested more than `_READABLE_DEPTH` levels deep."""
    parts = []
    depth = 0
    kept_from = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth == _READABLE_DEPTH + 1:
                parts += [text[kept_from : match.start()], "null"]
        elif match[0] in "]}":
            if depth == _READABLE_DEPTH + 1:
                kept_from = match.end()
            depth -= 1
    return "".join([*parts, text[kept_from:]])


class PollSockets:
    """The sockets on which we poll for jobs, and the means to close our half of them.

    A job that the platform hands out at the moment when we cancel a poll would be lost: it is on its way, and nobody
    reads it. So we do not cancel the poll. We close our half of its connection, which tells the platform that nobody
    waits any longer, and we still read whatever it had sent by then.

    `aiohttp.TCPConnector(socket_factory=...)` takes the instance.
    """

    def __init__(self) -> None:
        self.hung_up = False
        self._sockets: list[socket.socket] = []

    def __call__(self, address: tuple[Any, ...]) -> socket.socket:
        if self.hung_up:
            # aiohttp tries a GET once more when its connection closes.
            raise OSError("hung up")
        new = socket.socket(address[0], address[1], address[2])
        new.setblocking(False)
        self._sockets = [known for known in self._sockets if known.fileno() >= 0]
        self._sockets.append(new)
        return new

    def hang_up(self) -> None:
        """Close our half of every connection, and let none be made."""
        self.hung_up = True
        for known in self._sockets:
            # One that is not connected yet has sent nothing; one that is closed already has nothing to lose.
            with contextlib.suppress(OSError):
                known.shutdown(socket.SHUT_WR)
