"""What we rely on inside RunPod's SDK, beside what the SDK does itself: fails when its internals move."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import pytest

from engineroom_workers.emulator.testing import RunningEmulator
from engineroom_workers.runpod import sdk

from .conftest import StartWorker, chat, submit, text_of


def test_the_pinned_version() -> None:
    assert version("runpod") == "1.12.0"


def test_the_internals_are_where_we_look() -> None:
    found = sdk.load()
    assert found.version == "1.12.0"
    assert found.ping_interval > 0
    assert "Authorization" in found.headers
    found.jobs_in_progress.add("a-job")
    assert found.jobs_in_progress.get_job_list() == "a-job"
    found.jobs_in_progress.remove("a-job")
    assert found.jobs_in_progress.get_job_list() is None


def test_a_moved_sdk_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from runpod.serverless.modules import rp_job

    monkeypatch.delattr(rp_job, "get_stop_signals")
    with pytest.raises(sdk.SDKMovedError, match="get_stop_signals"):
        sdk.load()


async def test_both_loops_say_the_same_to_the_platform(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """Our loop's and the SDK's requests for the same job: same routes, same result."""
    seen: dict[str, Any] = {}
    for loop in ("engineroom", "sdk"):
        worker = start_worker(platform, JOB_LOOP=loop, RUNPOD_LOG_LEVEL="ERROR")
        job = submit(platform, {**chat("abcdefgh", stream=True), "max_batch_size": 3, "batch_size_growth_factor": 1})
        await platform.finished(job.id, 60)
        seen[loop] = (job.status, job.posts["stream"], job.posts["done"], text_of(job.chunks))
        (known,) = (w for w in platform.emulator.fleet.workers.values() if w.id == job.worker)
        await platform.until(lambda known=known: known.pings > 0)  # type: ignore[misc]
        worker.process.kill()
        await asyncio.to_thread(worker.process.wait, 10)
        platform.emulator.fleet.lose(known.id, "the test ended it")
    assert seen["engineroom"] == seen["sdk"]


async def test_a_moved_sdk_falls_back_to_the_sdks_loop(
    platform: RunningEmulator, start_worker: StartWorker, tmp_path: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import engineroom_workers.runpod.sdk as sdk\n"
        "def moved():\n    raise sdk.SDKMovedError('moved, says the test')\n"
        "sdk.load = moved\n"
    )
    worker = start_worker(platform, PYTHONPATH=str(tmp_path))
    await platform.polled(timeout=60)
    assert "moved, says the test; using the SDK's own loop instead" in worker.log
    job = submit(platform, {"prompt": "hello"})
    await platform.finished(job.id)
    assert job.status == "COMPLETED"


async def test_the_sdks_loop_tells_errors_and_stops_jobs(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, JOB_LOOP="sdk", RUNPOD_LOG_LEVEL="ERROR")
    await platform.polled(timeout=60)
    wrong = submit(platform, {"prompt": "a", "sampling_params": {"topk": 1}})
    await platform.finished(wrong.id)
    assert wrong.status == "COMPLETED"
    assert b"sampling_params.topk" in bytes(wrong.output)
    assert b"Traceback" not in bytes(wrong.output)


async def test_a_killed_worker_of_the_sdks_loop_stops_pinging(
    platform: RunningEmulator, start_worker: StartWorker
) -> None:
    from .test_endings import alive, descendants

    worker = start_worker(platform, JOB_LOOP="sdk", RUNPOD_LOG_LEVEL="ERROR")
    await platform.polled(timeout=60)
    children = descendants(worker.process.pid)
    assert children
    worker.process.kill()
    await platform.until(lambda: not any(alive(pid) for pid in children))
