"""What we rely on inside RunPod's SDK, beside what the SDK does itself: fails when its internals move."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from importlib.metadata import version
from typing import Any

import pytest

from engineroom.process import descendants
from engineroom.settings import Environment, WorkerSettings
from engineroom_echo import EchoEngine
from engineroom_workers.emulator.testing import RunningEmulator
from engineroom_workers.runpod import fallback, sdk
from engineroom_workers.runpod.handler import JobHandler
from engineroom_workers.runpod.settings import RunPodSettings

from .conftest import StartWorker, chat, endless, submit, text_of


def test_the_pinned_version() -> None:
    assert version("runpod") == "1.12.0"


def test_the_internals_are_where_we_look() -> None:
    internals = sdk.load()
    assert internals.version == "1.12.0"
    assert internals.ping_interval > 0
    assert "Authorization" in internals.headers
    internals.jobs_in_progress.add("a-job")
    assert internals.jobs_in_progress.get_job_list() == "a-job"
    internals.jobs_in_progress.remove("a-job")
    assert internals.jobs_in_progress.get_job_list() is None


def test_a_moved_sdk_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from runpod.serverless.modules import rp_job

    monkeypatch.delattr(rp_job, "get_stop_signals")
    with pytest.raises(sdk.SDKMovedError, match="get_stop_signals"):
        sdk.load()


IMPORTING = """
import sys, threading
from types import ModuleType
from engineroom_workers.runpod import sdk
sys.setswitchinterval(1e-6)
ended = threading.Event()
def import_on():
    while not ended.is_set():
        for number in range(500):
            sys.modules[f"other_{number}"] = ModuleType("other")
        for number in range(500):
            del sys.modules[f"other_{number}"]
importing = threading.Thread(target=import_on)
importing.start()
try:
    for _ in range(5):
        sdk.load()
finally:
    ended.set()
    importing.join()
"""


def test_another_thread_may_import_meanwhile() -> None:
    """The engine's does: the worker's start ended with `dictionary changed size during iteration`."""
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


OTHER_THREAD = """
import sys, threading
from engineroom_workers.runpod import sdk
loading = threading.Thread(target=lambda: sys.modules.update(sdk._stubs()))
loading.start()
loading.join()
from requests.adapters import HTTPAdapter
import requests
assert issubclass(requests.Session, requests.sessions.SessionRedirectMixin)
assert requests.adapters.HTTPAdapter is HTTPAdapter
"""


def test_an_engine_beside_the_sdk_s_import_has_the_libraries_whole() -> None:
    subprocess.run([sys.executable, "-c", OTHER_THREAD], check=True, timeout=60)


async def test_both_loops_say_the_same_to_the_platform(platform: RunningEmulator, start_worker: StartWorker) -> None:
    """Our loop's and the SDK's requests for the same job: same routes, same result."""
    seen: dict[str, Any] = {}
    for loop in ("engineroom", "sdk"):
        worker = start_worker(platform, JOB_LOOP=loop, RUNPOD_LOG_LEVEL="ERROR")
        job = submit(platform, {**chat("abcdefgh", stream=True), "max_batch_size": 3, "batch_size_growth_factor": 1})
        await platform.finished(job.id, 60)
        seen[loop] = (job.status, job.posts["stream"], job.posts["done"], text_of(job.chunks))
        (known,) = (w for w in platform.emulator.workers.by_id.values() if w.id == job.worker)
        await platform.until(lambda known=known: known.pings > 0)  # type: ignore[misc]
        worker.process.kill()
        await asyncio.to_thread(worker.process.wait, 60)
        platform.emulator.workers.remove(known.id, "the test ended it")
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


async def test_the_sdks_loop_tells_errors(platform: RunningEmulator, start_worker: StartWorker) -> None:
    start_worker(platform, JOB_LOOP="sdk", RUNPOD_LOG_LEVEL="ERROR")
    await platform.polled(timeout=60)
    wrong = submit(platform, {"prompt": "a", "sampling_params": {"topk": 1}})
    await platform.finished(wrong.id)
    assert wrong.status == "COMPLETED"
    assert b"sampling_params.topk" in bytes(wrong.output)
    assert b"Traceback" not in bytes(wrong.output)


@pytest.mark.parametrize("amid", ["the next item", "the POST of an item"])
async def test_a_job_that_the_sdks_loop_drops_is_aborted(amid: str, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK cancels the task that iterates, and keeps it; the engine is in another thread's loop."""
    caplog.set_level(logging.INFO)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    env = Environment.of({"MODEL_NAME": "echo"})
    engine = EchoEngine.configure(WorkerSettings.load(env), env)
    running = "engineroom_echo_running"
    try:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(engine.start(), loop))
        handle = fallback.sdk_handler(JobHandler(engine, RunPodSettings()), loop)

        async def consume() -> None:
            async for _ in handle({"id": "1", "input": endless()}):
                started.set()
                if amid == "the POST of an item":
                    await asyncio.sleep(600)

        started = asyncio.Event()
        task = asyncio.ensure_future(consume())
        await asyncio.wait_for(started.wait(), 60)
        assert f"{running} 1" in await engine.metrics()
        task.cancel()
        await asyncio.wait({task}, timeout=60)
        assert task.cancelled()
        for _ in range(6000):
            if f"{running} 0" in await engine.metrics():
                break
            await asyncio.sleep(0.01)
        assert f"{running} 0" in await engine.metrics()
        (line,) = (record.getMessage() for record in caplog.records if record.getMessage().startswith("job "))
        assert "status=CANCELLED" in line
    finally:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(engine.stop(), loop))
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, 10)
        loop.close()


async def test_a_killed_worker_of_the_sdks_loop_stops_pinging(
    platform: RunningEmulator, start_worker: StartWorker
) -> None:
    from .test_endings import alive

    worker = start_worker(platform, JOB_LOOP="sdk", RUNPOD_LOG_LEVEL="ERROR")
    await platform.polled(timeout=60)
    children = descendants(worker.process.pid)
    assert children
    worker.process.kill()
    await platform.until(lambda: not any(alive(pid) for pid in children))
