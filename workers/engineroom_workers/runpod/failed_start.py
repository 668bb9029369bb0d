"""A start that has failed: the platform learns why, and for a while the clients of the jobs do.

Without that their jobs would wait in the queue while the platform starts one worker after another, and bills them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import click
import msgspec

from engineroom.errors import APIError, EngineroomError, SettingsError
from engineroom.openai.errors import error_body
from engineroom.process import is_secret_name
from engineroom.settings import without_user_info
from engineroom.timeouts import timeout

from ..signals import either, stop_signals
from . import sdk
from .handler import JobFailure, JobRecord, JobResponse
from .jobs import JobPool, take_jobs
from .platform import DeliveryError, Platform

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
"""Seconds between two jobs that are failed: where only this machine is at fault, others get most of the jobs."""
_LAST_WORDS_S = 5.0
_LONGEST_DRAIN_S = 30.0
"""Seconds that the poll under way has to end."""
_CODE = "worker_start_failed"
_SECRET = re.compile(r"SECRET|PASSWORD|PASSPHRASE|CREDENTIAL|(?:TOKEN|AUTH|KEYS?)$", re.IGNORECASE)
"""Names of variables whose values nobody else may see, beside those that are kept from an engine's process: anybody may
read what is told here."""
_SHORTEST_SECRET = 6
_TOKEN = re.compile(r"\b(?:hf|sk|rpa|ghp)[_-][\w-]{16,}")
_LONGEST = 1000


def cause(error: BaseException, environ: Mapping[str, str]) -> str:
    """Why a start failed, in one sentence for anybody: no value of a secret variable is in it.

    Args:
        environ: the variables that may be quoted in the error.
    """
    if isinstance(error, SettingsError) and len(error.problems) > 1:
        text = f"{len(error.problems)} settings are wrong: {'; '.join(str(problem) for problem in error.problems)}"
    elif isinstance(error, click.UsageError):
        text = error.format_message()
    elif isinstance(error, EngineroomError):
        text = str(error)
    else:
        text = f"the start ended with an error that its log has in full ({type(error).__name__})"
    secrets = [
        value
        for name, values in environ.items()
        if is_secret_name(name) or _SECRET.search(name)
        for value in [values, *values.split(",")]
        if len(value.strip()) >= _SHORTEST_SECRET
    ]
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value.strip(), "********")
    text = without_user_info(_TOKEN.sub("********", text))
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def tell(error: BaseException, environ: Mapping[str, str], seconds: float) -> None:
    """Report a failed start to the platform as the SDK reports a failed check of fitness, and fail jobs with its cause.

    It blocks until the time is over or a signal comes. Where there is no platform it does nothing.

    Args:
        environ: the variables that may be quoted in the error.
        seconds: for how long jobs are taken; 0 takes none.
    """
    if "RUNPOD_WEBHOOK_GET_JOB" not in os.environ:
        return
    if not isinstance(error, (EngineroomError, click.UsageError)):
        logger.error("the worker cannot start", exc_info=error)
    reason = cause(error, environ)
    if seconds:
        logger.error("the worker cannot start: %s. For %g s it takes jobs, and fails each with this", reason, seconds)
    sdk.prepare_environment("INFO")
    try:
        asyncio.run(_tell(reason, seconds))
    except sdk.SDKMovedError as moved:
        logger.warning("the platform is not told: %s", moved)


async def _tell(reason: str, seconds: float) -> None:
    stopping, _ = stop_signals()
    platform = Platform(await asyncio.to_thread(sdk.load))
    reporting = asyncio.ensure_future(_report(platform, reason))
    try:
        await either(reporting, stopping)
        if not seconds or stopping.done():
            return
        repeating = asyncio.ensure_future(_keep_reporting(platform, reason))
        try:
            await _fail_jobs(platform, reason, seconds, stopping)
        finally:
            repeating.cancel()
            await asyncio.gather(repeating, return_exceptions=True)
        # The platform takes who asks for jobs for a healthy one; the last that it hears is that this one is not.
        await _report(platform, reason)
    finally:
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
        await platform.close()


async def _fail_jobs(platform: Platform, reason: str, seconds: float, stopping: asyncio.Future[None]) -> None:
    pool = JobPool(FailingHandler(reason), platform, 1)
    no_more_jobs: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    taking = asyncio.ensure_future(take_jobs(platform, pool, no_more_jobs))
    try:
        await either(stopping, taking, timeout=seconds)
        no_more_jobs.set_result(None)
        platform.stop_taking()
        # A poll that is hung up may lose a job, so it has as long again to end by itself.
        await asyncio.wait({taking}, timeout=min(seconds, _LONGEST_DRAIN_S))
        platform.hang_up()
        await asyncio.wait({taking}, timeout=_LAST_WORDS_S)
        await pool.finish(_LAST_WORDS_S)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


class FailingHandler:
    """Fails every job, with the reason why there is no engine; one a second."""

    def __init__(self, reason: str) -> None:
        error = APIError(f"The worker cannot start: {reason}", status=503, code=_CODE)
        self._failure = msgspec.json.encode(error_body(error)).decode()
        self._next = time.monotonic()

    def respond(self, job: Mapping[str, Any]) -> JobResponse:
        return JobResponse(False, self._items(), JobRecord(str(job.get("id")), error=_CODE))

    async def _items(self) -> AsyncGenerator[Any, None]:
        await asyncio.sleep(self._next - time.monotonic())
        self._next = time.monotonic() + _PAUSE_S
        raise JobFailure(self._failure)
        yield  # What makes it a generator.


async def _report(platform: Platform, reason: str) -> None:
    """As the SDK does when a fitness check fails, so that the reason can be seen at the platform."""
    if not platform.pings:
        return
    try:
        async with timeout(_LAST_WORDS_S):
            await platform.ping(status="unhealthy", check="engine", reason=reason[:256])
    except (DeliveryError, asyncio.TimeoutError) as error:
        logger.warning("could not report the failed start to the platform: %r", error)


async def _keep_reporting(platform: Platform, reason: str) -> None:
    while True:
        await asyncio.sleep(max(platform.ping_interval, 1))
        await _report(platform, reason)
