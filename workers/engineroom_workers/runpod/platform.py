"""The platform as the door sees it: it hands out jobs, takes their results, cancels jobs, and wants to hear pings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import socket
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from engineroom.openai.upstream_errors import retry_after

from .sdk import SDK
from .settings import HandBack

logger = logging.getLogger(__name__)

_LONGEST_POLL_S = 90.0
"""Seconds until a poll counts as forgotten, as in the SDK."""
_HANG_UP_S = 5.0
"""Seconds the platform has to close a poll once we have hung up."""
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_PATIENCE_S = 300.0
"""Seconds for which a POST is tried again while the worker lives."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 8.0
"""Seconds between two attempts at a POST, unless the platform names a time."""
_MOST_WAITING = 256_000_000
"""Bytes of results that wait for another attempt, all jobs together."""
_SMALL = 65_536
"""Bytes of a result that may always wait, such as an error: there are as many as jobs at most."""
_SENDING = "sending what jobs came to"
_LONGEST_WAIT_S = 60.0
"""Seconds that a poll or a POST waits at most because of a `Retry-After`: a wrong one must not keep a worker from its
jobs, nor a result from whoever waits for it."""
_RETRYABLE = {408, 425, 429}
"""Statuses below 500 after which another attempt may succeed."""


class DeliveryError(Exception):
    """The platform did not take something.

    rejected: there will be no further attempt although there is time: the platform understood and refused it, or there
        is no room to keep it. Something smaller may still be taken.
    """

    def __init__(self, reason: str, rejected: bool = False) -> None:
        super().__init__(reason)
        self.rejected = rejected


class PlatformBusy(Exception):
    """The platform asks for fewer requests (429)."""


class Backoff:
    """Delays that double from `first` to `longest` seconds, each shortened at random by up to a half.

    The chance keeps the workers of an endpoint from coming back all at once.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._next = first
        self._longest = longest

    def next(self) -> float:
        """The next delay in seconds."""
        delay = self._next
        self._next = min(2 * delay, self._longest)
        return delay * random.uniform(0.5, 1)

    def reset(self) -> None:
        """Begin again at `first`."""
        self._next = self._first


class Platform:
    """One worker's connections to the platform. Make it in a running loop; `await close()`.

    Args:
        hand_back: how a poll ends that is under way when the worker stops.
        patience: seconds for which a POST is tried again while the worker lives.

    outage: gets what fails, for the log.
    wait_before_take: seconds that the platform wants to be left alone after the last `take`, by its `Retry-After`.
    """

    def __init__(self, sdk: SDK, hand_back: HandBack = "wait", patience: float = _PATIENCE_S) -> None:
        self._sdk = sdk
        self.outage = Outage()
        self.wait_before_take = 0.0
        self._hand_back = hand_back
        self._patience = patience
        self._poll_sockets = PollSockets()
        self._stopped = False
        self._waiting_bytes = 0
        self._ends_at = float("inf")
        self._last_call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        polls_traced = aiohttp.TraceConfig()
        polls_traced.on_request_end.append(self._note_retry_after)
        self._polls = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._poll_sockets),
            headers=sdk.headers,
            timeout=aiohttp.ClientTimeout(total=600),
            response_class=PollResponse,
            trace_configs=[polls_traced],
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

        Cancelling this may lose a job; `stop_taking` and then `hang_up` make it return.

        Raises:
            PlatformBusy: too many requests.
            Exception: the platform cannot be reached or understood.
        """
        if not self._stopped:
            self._poll_sockets.closing = False
        self.wait_before_take = 0.0
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
            if self._poll_sockets.closing:
                return []
            raise
        finally:
            poll.cancel()

    async def _note_retry_after(
        self, session: aiohttp.ClientSession, context: object, request: aiohttp.TraceRequestEndParams
    ) -> None:
        """The SDK reads the answer, and raises without its headers."""
        if request.response.status >= 400:
            self.wait_before_take = min(retry_after(request.response.headers), _LONGEST_WAIT_S)

    def stop_taking(self) -> None:
        """Let no further poll begin. One that is under way ends by itself, or is hung up at once, as HAND_BACK says."""
        self._stopped = True
        self._poll_sockets.closing = True
        if self._hand_back == "half_close":
            self._poll_sockets.hang_up()

    def hang_up(self) -> None:
        """End the poll that is under way, if there is one; it returns with what the platform had already sent."""
        self._poll_sockets.hang_up()

    def last_call(self, seconds: float) -> None:
        """Give all POSTs this many seconds from now: pauses end, and there is one last attempt when the time is up."""
        self._ends_at = time.monotonic() + seconds
        if not self._last_call.done():
            self._last_call.set_result(None)

    def pause_taking(self) -> None:
        """Want no more jobs for now; a poll under way returns with what it already has. The next `take` is as usual.

        The poll is hung up whatever HAND_BACK says: a job that came to an engine that hangs would be no better off than
        one that is lost with the poll.
        """
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

    async def stream(self, job_id: str, item: Any) -> int:
        """Send one item of a job's stream; how many attempts it took. The platform may have taken each of them.

        Raises:
            DeliveryError: it did not arrive.
        """
        return await self._post(self._sdk.stream_url, "false", job_id, msgspec.json.encode({"output": item}))

    async def done(self, job_id: str, result: bytes) -> None:
        """Send a job's result, `{"output": [item, …]}` or `{"error": text}`. Raises DeliveryError."""
        await self._post(self._sdk.done_url, "true", job_id, result)

    async def _post(self, template: str, is_stream: str, job_id: str, body: bytes) -> int:
        """Send until it arrives or the time is up; the number of attempts."""
        url = f"{template.replace('$ID', job_id)}&isStream={is_stream}"
        headers = {
            "X-Request-ID": job_id,
            "charset": "utf-8",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        failure = await self._attempt(url, body, headers)
        if failure is None:
            return 1
        if len(body) > _SMALL and self._waiting_bytes + len(body) > _MOST_WAITING:
            waiting = f"{self._waiting_bytes / 1e6:.0f} MB of results wait for it already"
            raise DeliveryError(f"{failure.reason}, and {waiting}", rejected=True)
        self._waiting_bytes += len(body)
        try:
            return await self._keep_trying(url, body, headers, failure)
        finally:
            self._waiting_bytes -= len(body)

    async def _keep_trying(self, url: str, body: bytes, headers: dict[str, str], failure: FailedAttempt) -> int:
        began = time.monotonic()
        pauses = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        attempts = 1
        while True:
            remaining = min(began + self._patience, self._ends_at) - time.monotonic()
            if remaining <= 0:
                tried = f"{attempts} attempts in {time.monotonic() - began:.0f} s"
                raise DeliveryError(f"{failure.reason} ({tried})")
            wanted = min(failure.retry_after, _LONGEST_WAIT_S)
            await self._pause(min(max(pauses.next(), wanted), remaining))
            attempts += 1
            again = await self._attempt(url, body, headers)
            if again is None:
                self.outage.worked(_SENDING)
                return attempts
            failure = again
            self.outage.failed(_SENDING, failure.reason)

    async def _attempt(self, url: str, body: bytes, headers: dict[str, str]) -> FailedAttempt | None:
        """Send once; None if it arrived.

        Raises:
            DeliveryError: the platform refused it.
        """
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                await response.read()
                if response.status < 400:
                    return None
                reason = f"answered with {response.status}"
                if response.status < 500 and response.status not in _RETRYABLE:
                    raise DeliveryError(reason, rejected=True)
                return FailedAttempt(reason, retry_after(response.headers))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return FailedAttempt(f"not reached: {error!r}")

    async def _pause(self, seconds: float) -> None:
        """Wait, but only until the last call, where that has not been yet."""
        if self._last_call.done():
            await asyncio.sleep(seconds)
        else:
            await asyncio.wait({self._last_call}, timeout=seconds)

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


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """Why a POST did not arrive, and how many seconds the platform wants to be left alone (`Retry-After`)."""

    reason: str
    retry_after: float = 0.0


class PollSockets:
    """The sockets on which we poll for jobs, and the means to close our half of them.

    A job that the platform hands out at the moment when we cancel a poll would be lost: it is on its way, and nobody
    reads it. So we do not cancel a poll. The surest is to wait until it ends. Where there is no time for that, we close
    our half of its connection, which tells the platform that nobody waits any longer, and we still read whatever it had
    sent by then. That loses a job where a proxy closes the other half at once, or where the platform does not look.

    closing: no new connection is made.

    `aiohttp.TCPConnector(socket_factory=...)` takes the instance.
    """

    def __init__(self) -> None:
        self.closing = False
        self._sockets: list[socket.socket] = []

    def __call__(self, address: tuple[Any, ...]) -> socket.socket:
        if self.closing:
            # aiohttp tries a GET once more when its connection closes.
            raise OSError("hung up")
        new = socket.socket(address[0], address[1], address[2])
        new.setblocking(False)
        self._sockets = [known for known in self._sockets if known.fileno() >= 0]
        self._sockets.append(new)
        return new

    def hang_up(self) -> None:
        """Close our half of every connection, and let none be made."""
        self.closing = True
        for known in self._sockets:
            # One that is not connected yet has sent nothing; one that is closed already has nothing to lose.
            with contextlib.suppress(OSError):
                known.shutdown(socket.SHUT_WR)
