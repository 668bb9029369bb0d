"""The conformance kit against the echo engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from engineroom.engine import Engine
from engineroom.environment import Environment
from engineroom.testing import (
    CHECKS,
    LIFECYCLE_CHECKS,
    Check,
    Expectations,
    Lifecycle,
    NotOffered,
    Target,
    engine_target,
)
from engineroom_echo import EchoEngine


@pytest.fixture
def target(engine: EchoEngine) -> Target:
    expectations = Expectations(
        max_model_len=2048, running_metric="engineroom_echo_running", fields={"echo_tokens_per_s": 1000}
    )
    return engine_target(engine, expectations)


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


async def kill(engine: Engine) -> None:
    assert isinstance(engine, EchoEngine)
    engine.die("the test killed it")


@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=lambda check: check.__name__)
async def test_lifecycle(check: Callable[[Lifecycle], Awaitable[None]]) -> None:
    def make() -> Engine:
        return EchoEngine.configure(Environment.of({"ECHO_TOKENS_PER_S": 1000}))

    def make_broken() -> Engine:
        return EchoEngine.configure(Environment.of({"ECHO_FAULT": "start"}))

    try:
        await check(Lifecycle(make, make_broken, kill))
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")
