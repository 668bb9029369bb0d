"""The conformance kit against the echo engine."""

from __future__ import annotations

import pytest

from engineroom.engine import Engine
from engineroom.settings import Environment, WorkerSettings
from engineroom.testing import Expectations, Lifecycle
from engineroom.testing.suite import anyio_backend, target, test_conformance, test_lifecycle
from engineroom_echo import EchoEngine

__all__ = ["anyio_backend", "target", "test_conformance", "test_lifecycle"]


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    return Expectations(
        max_model_len=2048,
        running_metric="engineroom_echo_running",
        fields={"echo_tokens_per_s": 1000},
        saying=lambda text: {},
    )


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    def make() -> Engine:
        return configured({"ECHO_MAX_MODEL_LEN": 2048, "ECHO_TOKENS_PER_S": 1000, "ENGINE_HANG_TIMEOUT": 20})

    def make_broken() -> Engine:
        return configured({"ECHO_FAULT": "start"})

    return Lifecycle(make, make_broken, kill)


def configured(settings: dict[str, object]) -> EchoEngine:
    env = Environment.of(settings)
    return EchoEngine.configure(WorkerSettings.load(env), env)


async def kill(engine: Engine) -> None:
    assert isinstance(engine, EchoEngine)
    engine.die("the test killed it")
