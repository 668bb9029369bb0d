"""Every fault, with RunPod's own SDK as the worker that suffers it."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx
import pytest

from engineroom_workers.emulator.faults import Faults
from engineroom_workers.emulator.testing import RunningEmulator


@pytest.mark.parametrize(("rate", "struck"), [(0, 0), (0.1, 10), (0.25, 25), (1 / 3, 33), (1, 100)])
def test_rates_are_exact(rate: float, struck: int) -> None:
    faults = Faults(fail_stream=rate)
    assert sum(faults.strikes("fail_stream") for _ in range(100)) == struck


async def completed(shared: RunningEmulator, endpoint: httpx.AsyncClient, **instructions: Any) -> Any:
    """The output of a job that ends well."""
    job_id = (await endpoint.post("/run", json={"input": instructions})).json()["id"]
    job = await shared.finished(job_id, timeout=60)
    assert job.status == "COMPLETED"
    return job


async def test_a_failed_stream_post_is_repeated(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    shared.faults.fail_stream = 0.5
    job = await completed(shared, endpoint, items=["a", "b"])
    assert [bytes(chunk) for chunk in job.chunks] == [b'"a"', b'"b"']
    assert job.posts["refused"] == 1


async def test_stream_posts_that_always_fail_lose_chunks(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    shared.faults.fail_stream = 1
    job = await completed(shared, endpoint, items=["a"])
    assert (job.chunks, bytes(job.output), job.posts["refused"]) == ([], b'["a"]', 3)


async def test_a_failed_result_is_repeated(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    shared.faults.fail_done = 0.5
    await completed(shared, endpoint)
    job = await completed(shared, endpoint)
    assert (job.posts["refused"], job.posts["done"]) == (1, 1)


@pytest.mark.parametrize("fault", ["take_429", "take_400", "fail_take"])
async def test_a_failed_take_is_repeated(shared: RunningEmulator, endpoint: httpx.AsyncClient, fault: str) -> None:
    setattr(shared.faults, fault, 0.5)
    for _ in range(2):
        await completed(shared, endpoint)


async def test_a_killed_workers_job_goes_to_another(
    platform: RunningEmulator, client: httpx.AsyncClient, start_worker: Any, tmp_path: Any
) -> None:
    doomed = start_worker(platform, worker_id="doomed")
    await platform.polled()
    job_id = (await client.post("/run", json={"input": {"items": ["a"], "hang": str(tmp_path / "mark")}})).json()["id"]
    job = await platform.streamed(job_id)
    os.killpg(doomed.pid, signal.SIGKILL)
    start_worker(platform, worker_id="heir")
    await platform.streamed(job_id, 2)
    assert (job.worker, job.attempts, [bytes(chunk) for chunk in job.chunks]) == ("heir", 2, [b'"a"', b'"a"'])


async def test_a_job_handed_out_twice_ends_once(shared: RunningEmulator, endpoint: httpx.AsyncClient) -> None:
    shared.faults.redeliver = 1
    job = await completed(shared, endpoint, progress=["at it"] * 6, items=["a"])
    assert (job.attempts, bytes(job.output)) == (2, b'["a"]')
    await shared.until(lambda: job.posts["late"])
    assert shared.emulator.counts["failed"] == 0
