"""Echo engines, started and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engineroom.settings import Environment, WorkerSettings
from engineroom.testing import running
from engineroom_echo import EchoEngine


@pytest.fixture
async def engine() -> AsyncIterator[EchoEngine]:
    env = Environment.of({"ECHO_MAX_MODEL_LEN": 2048})
    async with running(EchoEngine.configure(WorkerSettings.load(env), env)) as engine:
        yield engine
