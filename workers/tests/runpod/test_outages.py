"""A platform that fails for a while: the worker goes on, and its log stays short."""

from __future__ import annotations

import asyncio
import logging

import pytest

from engineroom.asgi import Receive, Scope, Send, send_body
from engineroom_workers.emulator.testing import RunningEmulator
from engineroom_workers.runpod.platform import Outage

from .conftest import StartWorker, submit
from .test_faults import served


async def test_an_outage_is_one_line(platform: RunningEmulator, start_worker: StartWorker) -> None:
    platform.faults.fail_take = 1
    worker = start_worker(platform)
    await platform.until(lambda: sum(known.polls for known in platform.emulator.workers.by_id.values()) >= 4)
    lines = [line for line in worker.log.splitlines() if "WARNING" in line]
    assert len(lines) == 1, lines
    assert "the platform fails: taking jobs" in lines[0]
    assert "Traceback" not in worker.log
    platform.faults.fail_take = 0
    job = submit(platform, {"prompt": "a"})
    await platform.finished(job.id)
    assert job.status == "COMPLETED"


@pytest.mark.parametrize(("wanted", "polls"), [("Wed, 21 Oct 2099 07:28:00 GMT", 1), ("soon", 3)])
async def test_retry_after_is_heeded(start_worker: StartWorker, wanted: str, polls: int) -> None:
    """Within the bound of a minute, in both of its forms; one that says nothing is no reason to wait."""
    asked = 0

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        if "job-take" in scope["path"]:
            asked += 1
            await send_body(send, 429, b"", b"text/plain", [(b"retry-after", wanted.encode())])
        else:
            await send_body(send, 204, b"", b"text/plain")

    async with served(busy) as platform:
        start_worker(platform)
        await platform.until(lambda: asked >= polls)
        if polls == 1:
            await asyncio.sleep(1.5)
            assert asked == 1


def test_a_long_outage_counts_its_attempts(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """35 minutes of an outage, with its own clock."""
    now = 0.0
    monkeypatch.setattr("engineroom_workers.runpod.platform.time.monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    outage = Outage()
    while now < 35 * 60:
        outage.failed("taking jobs", "answered with 503")
        outage.failed("pinging", "answered with 503")
        now += 5
    outage.worked("pinging")
    outage.worked("taking jobs")
    outage.worked("taking jobs")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 35
    assert "answered with 503; trying again" in warnings[0]
    assert "(793 failed attempts in 1980 s)" in warnings[33]
    (end,) = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert end == "the platform works again, after 2100 s and 840 failed attempts"


def test_one_fault_in_three_is_a_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("engineroom_workers.runpod.platform.time.monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    outage = Outage()
    for attempt in range(600):
        now += 0.5
        if attempt % 3:
            outage.worked("taking jobs")
        else:
            outage.failed("taking jobs", "answered with 503")
    assert len(caplog.records) <= 6
