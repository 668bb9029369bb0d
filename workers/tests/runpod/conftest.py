"""An emulated platform, real workers on it, and clients."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from prepared_python import PREPARED
from server_process import process_groups

from engineroom_workers.emulator.jobs import Job, JobRequest
from engineroom_workers.emulator.testing import RunningEmulator, running_emulator
from engineroom_workers.testing import DoorProcess

WATCHED = Path(__file__).with_name("watched_worker.py")


@dataclass
class WorkerProcess:
    """A worker: its process, what it logged so far, and its engine's metrics."""

    process: DoorProcess
    log_file: Path
    metrics_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def metric(self, name: str) -> float:
        line = re.search(rf"^{name}(?:{{.*?}})? (\S+)$", self.metrics_file.read_text(), re.MULTILINE)
        assert line, f"no metric {name}"
        return float(line[1])

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None


StartWorker = Callable[..., WorkerProcess]


@contextlib.contextmanager
def workers(directory: Path) -> Iterator[StartWorker]:
    """Starts workers on the echo engine unless told otherwise; they and all they started are killed at the end."""
    numbers = itertools.count()
    with process_groups() as start_group, contextlib.ExitStack() as forks, open(os.devnull) as nothing:

        def start(platform: RunningEmulator, **settings: object) -> WorkerProcess:
            name = directory / f"worker-{next(numbers)}"
            environ = {
                **{name: value for name, value in os.environ.items() if not name.startswith("RUNPOD_")},
                **platform.worker_environment(),
                "ENGINE": "echo",
                "METRICS": f"{name}.prom",
                **{key: str(value) for key, value in settings.items()},
            }
            process: DoorProcess
            with open(f"{name}.log", "wb") as log:
                if PREPARED.suits(environ):
                    streams = (nothing.fileno(), log.fileno(), log.fileno())
                    fork = PREPARED.fork((), environ, streams, script=WATCHED)
                    forks.callback(fork.kill_group)
                    process = fork
                else:
                    process = start_group([sys.executable, str(WATCHED)], env=environ, stdout=log, stderr=log)
            return WorkerProcess(process, Path(f"{name}.log"), Path(f"{name}.prom"))

        yield start


@pytest.fixture
async def platform() -> AsyncIterator[RunningEmulator]:
    """A platform of its own for one test, without a worker. It holds polls longer than any test may take.

    Nor does it miss a worker that a busy machine keeps from pinging for some seconds.
    """
    async with running_emulator(hold=110) as running:
        yield running


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    with workers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningEmulator]:
    """A platform with one worker on the echo engine, for all tests of a module."""
    async with running_emulator(hold=110) as running:
        with workers(tmp_path_factory.mktemp("shared")) as start:
            start(running)
            await running.polled()
            yield running


@pytest.fixture
async def client(shared: RunningEmulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client on `shared`."""
    async with openai_client(shared) as client:
        yield client


def openai_client(platform: RunningEmulator, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=platform.openai_url, api_key="any", timeout=90, max_retries=0, **options)


def submit(platform: RunningEmulator, value: Any) -> Job:
    """Queue a job as `/run` does."""
    return platform.emulator.submit(JobRequest(msgspec.Raw(msgspec.json.encode(value))))


async def run(platform: RunningEmulator, value: Any) -> Any:
    """The output of a job as `/runsync` gives it."""
    async with httpx.AsyncClient(base_url=platform.endpoint_url, timeout=90) as client:
        answer = (await client.post("/runsync", json={"input": value})).json()
    assert answer["status"] == "COMPLETED", answer
    return answer["output"]


def chat(text: str, **fields: Any) -> dict[str, Any]:
    """A job as RunPod's OpenAI route makes it."""
    body = {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}
    return {"openai_route": "/v1/chat/completions", "openai_input": body}


def endless(**fields: Any) -> dict[str, Any]:
    """A streamed chat that does not end by itself in the time of a test, fifty tokens a second."""
    return chat("tick ", stream=True, ignore_eos=True, max_tokens=100_000, echo_tokens_per_s=50, **fields)


def text_of(chunks: list[msgspec.Raw]) -> str:
    """The text that a stream's items carry, as an OpenAI client would put it together."""
    events = "".join(msgspec.json.decode(chunk) for chunk in chunks)
    text = ""
    for line in events.splitlines():
        if line.startswith("data: {"):
            for choice in msgspec.json.decode(line[6:]).get("choices", ()):
                text += choice["delta"].get("content") or ""
    return text
