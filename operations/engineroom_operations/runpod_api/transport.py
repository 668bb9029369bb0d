"""HTTP to the management API: the key, time-outs, and retries that have a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from engineroom.errors import EngineroomError
from engineroom.runpod_account import RunPodAccount

from .errors import RunPodApiError, from_response

logger = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
ATTEMPTS = 6
"""Of one request, in all."""
UNREACHABLE_ATTEMPTS = 3
"""Where nobody listens, or the name is unknown: that rarely passes, and somebody waits to be told."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 20.0
LONGEST_WAIT_S = 120.0
"""Of all pauses of one request together; a quota of an hour or a day is not waited for."""


class LostAnswerError(EngineroomError):
    """A request may or may not have had its effect: the connection broke, or the server failed.

    Attributes:
        error: what to tell where nobody can find out.
    """

    def __init__(self, error: RunPodApiError) -> None:
        super().__init__(str(error))
        self.error = error


class Call(NamedTuple):
    """One request.

    doing: what it is for, for an error's text: `creating the pod my-llm`.
    secrets: texts of its body that no error may show.
    repeatable: whether it may be sent again where it is unknown what became of it.
    """

    method: str
    path: str
    doing: str
    body: Any = None
    query: Mapping[str, str] = {}
    secrets: Sequence[str] = ()
    repeatable: bool = True


class Transport:
    """Sends requests. Make it inside a running loop; `close()` it.

    Args:
        pause_s: the first pause before a retry, which doubles from one to the next.
    """

    def __init__(self, account: RunPodAccount, pause_s: float = FIRST_PAUSE_S) -> None:
        self._url = account.runpod_api_url
        self._pause_s = pause_s
        self._session = aiohttp.ClientSession(
            headers={**account.headers, "User-Agent": "engineroom"}, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(self, call: Call) -> bytes:
        """The body of the answer. What is only busy or broken for a moment is asked again.

        Raises:
            RunPodApiError: it was refused, or all attempts failed.
            LostAnswerError: it is not repeatable, and may have had its effect.
        """
        waited = 0.0
        pause = self._pause_s
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, headers, body = await self._once(call)
            except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
                failure = self._unreachable(call, error)
                never_sent = True
                asked = None
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                failure = self._unreachable(call, error)
                never_sent = False
                asked = None
            else:
                if status < 300:
                    return body
                failure = from_response(call.doing, status, body, call.secrets)
                if status != 429 and status < 500:
                    raise failure
                never_sent = status == 429
                asked = _retry_after(headers)
            if not never_sent and not call.repeatable:
                raise LostAnswerError(failure)
            pause_now = asked if asked is not None else pause
            attempts = UNREACHABLE_ATTEMPTS if never_sent and not failure.status else ATTEMPTS
            if attempt >= attempts or waited + pause_now > LONGEST_WAIT_S:
                raise failure
            logger.warning("%s; trying again in %.0f s", str(failure).partition("\n")[0], pause_now)
            await asyncio.sleep(pause_now)
            waited += pause_now
            pause = min(2 * pause, LONGEST_PAUSE_S)
        raise AssertionError("the last attempt returns or raises")

    def stream(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """An answer that is read as it comes; it may be silent for long."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        return self._session.get(f"{self._url}/v2/{path}", params=query, headers=headers, timeout=timeout)

    async def _once(self, call: Call) -> tuple[int, Mapping[str, str], bytes]:
        data = None if call.body is None else msgspec.json.encode(call.body)
        async with self._session.request(
            call.method,
            f"{self._url}/v2/{call.path}",
            params=call.query,
            data=data,
            headers={"Content-Type": "application/json"} if data is not None else {},
            timeout=_TIMEOUT,
            allow_redirects=False,
        ) as response:
            return response.status, response.headers, await response.read()

    def _unreachable(self, call: Call, error: Exception) -> RunPodApiError:
        reason = "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
        remedy = "check the network, and RUNPOD_API_URL where it is set"
        return RunPodApiError(call.doing, 0, f"{self._url} cannot be reached ({reason})", remedy=remedy)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None where it does not say."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
