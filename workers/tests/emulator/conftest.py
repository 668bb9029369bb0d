"""An emulator, workers on RunPod's SDK, and clients."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from server_process import process_groups

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator

HANDLER = Path(__file__).with_name("sdk_handler.py")

StartWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
async def platform() -> AsyncIterator[RunningEmulator]:
    """An emulator of its own for one test, without a worker."""
    async with running_emulator(hold=20, ping_interval=1) as running:
        yield running


@pytest.fixture
async def client(platform: RunningEmulator) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(platform) as client:
        yield client


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts workers of the SDK; they are killed with all they started when the test ends."""
    with workers() as start:
        yield start


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[RunningEmulator]:
    """An emulator with one idle worker, for all tests of a module: the SDK takes seconds to start."""
    async with running_emulator() as running:
        with workers() as start:
            start(running)
            await running.polled()
            yield running


@pytest.fixture
async def endpoint(shared: RunningEmulator) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `shared`, which has no faults at the start of a test."""
    shared.faults.update(dict.fromkeys(shared.faults.as_dict(), 0))
    async with client_of(shared) as client:
        yield client


def client_of(platform: RunningEmulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=platform.endpoint_url, timeout=90)


@contextlib.contextmanager
def workers() -> Iterator[StartWorker]:
    """Starts workers; the SDK's ping process, which outlives its parent, ends with them."""
    with process_groups() as start_group:

        def start(
            platform: RunningEmulator, handler: str = "stream", worker_id: str | None = None
        ) -> subprocess.Popen[bytes]:
            environ = {
                **os.environ,
                **platform.worker_environment(worker_id),
                "HANDLER": handler,
                "RUNPOD_LOG_LEVEL": "WARN",
            }
            return start_group([sys.executable, str(HANDLER)], env=environ)

        yield start
