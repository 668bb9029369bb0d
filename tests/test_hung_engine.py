"""A real engine's processes are stopped (SIGSTOP) behind both doors: noticed, waited for, and replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from http_door import COMMAND, Door, serving
from server_process import until

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator

ENGINE = {"ENGINE": "llamacpp", "CTX_SIZE": "2048", "PARALLEL": "2", "THREADS": "1", "STOP_TIMEOUT": "30"}
STORY = {"messages": [{"role": "user", "content": "Tell a long story."}], "ignore_eos": True, "temperature": 0}


def ask(door: Door, **fields: Any) -> httpx.Response:
    return httpx.post(f"{door.url}/v1/chat/completions", json={**STORY, **fields}, timeout=100)


LONG_PROMPT = {"messages": [{"role": "user", "content": "one two three four " * 60}], "max_tokens": 1}
"""It takes one thread seconds, in which nothing moves: longer than an idle engine may be silent here."""


def send(number: signal.Signals, worker: int) -> None:
    """A signal to the engine's processes and to the reaper above them."""
    for process in psutil.Process(worker).children(recursive=True):
        process.send_signal(number)


def test_at_the_http_door_it_is_noticed_and_goes_on() -> None:
    with (
        serving({**ENGINE, "ENGINE_HANG_TIMEOUT": "20", "ENGINE_RESTARTS": "1"}) as door,
        ThreadPoolExecutor(1) as pool,
    ):
        assert httpx.post(f"{door.url}/v1/chat/completions", json=LONG_PROMPT, timeout=100).status_code == 200
        assert "engineroom_engine_hangs 0" in door.metrics()
        caught = pool.submit(ask, door, max_tokens=40)
        until(lambda: door.metric("llamacpp:requests_processing") == 1)
        send(signal.SIGSTOP, door.process.pid)
        door.until(503)
        health = httpx.get(f"{door.url}/health")
        assert health.status_code == 503
        assert health.json()["live"]
        assert health.json()["reason"].startswith("not responding: no answer to GET /health for")
        assert httpx.get(f"{door.url}/readyz").status_code == 503
        assert httpx.get(f"{door.url}/livez").status_code == 200, "a liveness probe would kill what may yet respond"
        refused = ask(door, max_tokens=2)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_loading")
        assert int(refused.headers["retry-after"]) > 0
        metrics = door.metrics()
        assert "llamacpp's own metrics are left out" in metrics
        assert "engineroom_engine_hangs 1" in metrics
        send(signal.SIGCONT, door.process.pid)
        door.until(200)
        assert caught.result().json()["usage"]["completion_tokens"] == 40
        assert door.metric("engineroom_engine_restarts") == 0
        assert "GET /health" not in door.log.replace("no answer to GET /health", "")


def test_at_the_http_door_it_is_replaced() -> None:
    settings = {"ENGINE_HANG_TIMEOUT": "3", "ENGINE_RESTARTS": "1"}
    with serving({**ENGINE, **settings}) as door, ThreadPoolExecutor(1) as pool:
        caught = pool.submit(ask, door, max_tokens=40)
        until(lambda: door.metric("llamacpp:requests_processing") == 1)
        send(signal.SIGSTOP, door.process.pid)
        door.says("the engine is gone: llamacpp hung: no answer to GET /health for 3 s, its process stopped")
        # Nothing of its answer had been sent: the next engine has been asked.
        assert caught.result().json()["usage"]["completion_tokens"] == 40
        door.until(200)
        assert door.metric("engineroom_engine_restarts") == 1
        assert door.metric("engineroom_engine_hangs") == 1


class StoppedQueueWorker:
    """`engineroom runpod` on an emulated endpoint. log: what it has written so far."""

    def __init__(self, platform: RunningEmulator, process: asyncio.subprocess.Process, log: Path) -> None:
        self.platform = platform
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def take_story(self) -> str:
        """Have it begin with a job; the job's id."""
        begun = await self.queue(max_tokens=40)
        await self.platform.until(lambda: self.platform.emulator.jobs[begun].status == "IN_PROGRESS")
        return begun

    async def queue(self, **fields: Any) -> str:
        body = {"openai_route": "/v1/chat/completions", "openai_input": {**STORY, **fields}}
        async with httpx.AsyncClient(base_url=self.platform.endpoint_url) as client:
            return str((await client.post("/run", json={"input": body})).json()["id"])


@asynccontextmanager
async def queue_worker(folder: Path, timeout: str, ping_interval: float = 10) -> AsyncIterator[StoppedQueueWorker]:
    async with running_emulator(hold=110, ping_interval=ping_interval) as platform:
        environment = {**os.environ, **ENGINE, "ENGINE_HANG_TIMEOUT": timeout, **platform.worker_environment("one")}
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(COMMAND, "runpod", env=environment, stderr=log)
        try:
            await platform.polled(timeout=120)
            yield StoppedQueueWorker(platform, process, folder / "log")
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 60)


@pytest.mark.anyio
async def test_at_the_queue_it_takes_no_jobs_and_goes_on(tmp_path: Path) -> None:
    async with queue_worker(tmp_path, "20") as worker:
        platform = worker.platform
        running = await worker.take_story()
        send(signal.SIGSTOP, worker.process.pid)
        await platform.until(lambda: "no jobs are taken" in worker.log)
        waiting = await worker.queue(max_tokens=2)
        await asyncio.sleep(0.5)
        assert platform.emulator.jobs[waiting].status == "IN_QUEUE"
        send(signal.SIGCONT, worker.process.pid)
        for name in (running, waiting):
            job = await platform.finished(name)
            assert (job.status, job.attempts) == ("COMPLETED", 1)
    assert worker.process.returncode == 0


@pytest.mark.anyio
async def test_at_the_queue_its_worker_falls_silent_and_ends(tmp_path: Path) -> None:
    async with queue_worker(tmp_path, "4", ping_interval=0.5) as worker:
        await worker.take_story()
        state = worker.platform.emulator.workers.by_id["one"]
        await worker.platform.until(lambda: state.pings > 1)
        send(signal.SIGSTOP, worker.process.pid)
        await worker.platform.until(lambda: "no jobs are taken" in worker.log)
        pings = state.pings
        assert await asyncio.wait_for(worker.process.wait(), 60) == 1
        assert state.pings <= pings + 1
        assert "the engine is gone: llamacpp hung: no answer to GET /health for 4 s" in worker.log
