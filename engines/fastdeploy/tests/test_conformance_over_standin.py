"""The conformance kit, against the engine over the stand-in for each version of FastDeploy. No FastDeploy in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engineroom.engine import Engine
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
from engineroom_fastdeploy import FastDeployEngine

from .conftest import standin


@pytest.fixture
def target(engine: FastDeployEngine) -> Target:
    return engine_target(
        engine,
        Expectations(
            model=engine.models[0],
            max_model_len=2048,
            running_metric="fastdeploy:num_requests_running",
            can_abort=engine.can_abort,
        ),
    )


@pytest.mark.parametrize("check", CHECKS, ids=str)
async def test_conformance(check: Check, target: Target) -> None:
    try:
        await check(target)
    except NotOffered as reason:
        pytest.skip(f"not offered: {reason}")


@pytest.mark.parametrize("check", LIFECYCLE_CHECKS, ids=str)
@pytest.mark.parametrize("version", ["2.3", "2.6"])
async def test_lifecycle(check: Callable[[Lifecycle], Awaitable[None]], version: str, tmp_path: Path) -> None:
    def make_broken() -> Engine:
        return make(FASTDEPLOY_PYTHON="/nonexistent/python", FASTDEPLOY_VERSION=version)

    async def kill(engine: Engine) -> None:
        assert isinstance(engine, FastDeployEngine)
        async with engine.upstream.session.post(engine.upstream.url + "/standin/die") as response:
            assert response.status == 200

    with standin(version, tmp_path) as make:
        try:
            await check(Lifecycle(make, make_broken, kill))
        except NotOffered as reason:
            pytest.skip(f"not offered: {reason}")
