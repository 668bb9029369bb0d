"""SIGTERM while a poll for jobs is under way, on platforms that treat a hung-up poll in each of the known ways."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from engineroom_workers.emulator.options import HungUpPoll
from engineroom_workers.emulator.routes import worker as worker_routes
from engineroom_workers.emulator.testing import running_emulator

from .conftest import StartWorker, submit

JOB = {"prompt": "a"}


@pytest.mark.parametrize("model", get_args(HungUpPoll))
async def test_a_poll_that_is_waited_out_loses_no_job(model: HungUpPoll, start_worker: StartWorker) -> None:
    async with running_emulator(hold=110, hung_up_poll=model) as platform:
        worker = start_worker(platform)
        await platform.polled()
        worker.process.terminate()
        await platform.until(lambda: "draining" in worker.log)
        first, second = submit(platform, JOB), submit(platform, JOB)
        assert await asyncio.to_thread(worker.process.wait, 60) == 0
        # The first came with the poll. Nobody asked for the second, or it came with the first.
        assert (first.status, second.status) in (("COMPLETED", "IN_QUEUE"), ("COMPLETED", "COMPLETED"))


async def test_the_platform_ends_the_poll(start_worker: StartWorker) -> None:
    async with running_emulator(hold=0.2) as platform:
        worker = start_worker(platform)
        await platform.polled()
        worker.process.terminate()
        assert await asyncio.to_thread(worker.process.wait, 60) == 0
        job = submit(platform, JOB)
        assert job.status == "IN_QUEUE"


async def test_the_time_to_drain_ends_the_poll(start_worker: StartWorker) -> None:
    """And a second signal does so at once."""
    async with running_emulator(hold=110) as platform:
        for settings in ({"DRAIN_TIMEOUT": 0.2}, {"DRAIN_TIMEOUT": 1000}):
            worker = start_worker(platform, **settings)
            await platform.until(lambda: platform.emulator.job_available.waiters == 1)
            worker.process.terminate()
            if settings["DRAIN_TIMEOUT"] == 1000:
                await platform.until(lambda worker=worker: "draining" in worker.log)  # type: ignore[misc]
                worker.process.terminate()
            assert await asyncio.to_thread(worker.process.wait, 60) == 0
            await platform.until(lambda: platform.emulator.job_available.waiters == 0)


@pytest.mark.parametrize(
    ("model", "status"),
    [("keep", "IN_QUEUE"), ("lose", "IN_PROGRESS"), ("proxy", "IN_PROGRESS"), ("ignore", "COMPLETED")],
)
async def test_where_a_half_closed_poll_loses_a_job(
    model: HungUpPoll, status: str, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why `wait` is the default: a job that nobody works on stays IN_PROGRESS."""
    monkeypatch.setattr(worker_routes, "PROXY_NOTICES_S", 100)
    async with running_emulator(hold=110, hung_up_poll=model) as platform:
        worker = start_worker(platform, HAND_BACK="half_close")
        await platform.polled()
        worker.process.terminate()
        await platform.until(lambda: "draining" in worker.log)
        if model == "ignore":
            job = submit(platform, JOB)
            await asyncio.to_thread(worker.process.wait, 60)
        else:
            await asyncio.to_thread(worker.process.wait, 60)
            job = submit(platform, JOB)
            await platform.until(lambda: job.status == status)
        assert job.status == status
