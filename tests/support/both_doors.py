"""Fixtures for tests that go through both doors, as processes of their own: `worker` says what is behind them.

A test module gives `worker`, of module scope: the settings of a worker as a process would have them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from http_door import COMMAND, serving

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator


@pytest.fixture(scope="module")
def http_url(worker: dict[str, str]) -> Iterator[str]:
    """The HTTP door."""
    with serving(worker, seconds=120) as door:
        yield door.url


@pytest.fixture(scope="module")
async def runpod(worker: dict[str, str]) -> AsyncIterator[RunningEmulator]:
    """The RunPod door: an emulated endpoint with one worker of ours."""
    async with running_emulator() as platform:
        process = await asyncio.create_subprocess_exec(
            COMMAND, "runpod", env={**os.environ, **worker, **platform.worker_environment()}
        )
        try:
            await platform.polled(timeout=120)
            yield platform
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 60)
    assert process.returncode == 0


@pytest.fixture(params=["http", "runpod"])
async def url(request: pytest.FixtureRequest, http_url: str, runpod: RunningEmulator) -> str:
    """An OpenAI client's `base_url` at each door."""
    return f"{http_url}/v1" if request.param == "http" else runpod.openai_url


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client at each door."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=90) as client:
        yield client
