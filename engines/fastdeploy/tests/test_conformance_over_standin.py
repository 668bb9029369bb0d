"""The conformance kit, against the engine over the stand-in for each version of FastDeploy. No FastDeploy in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engineroom.engine import Engine
from engineroom.testing import Lifecycle, Target
from engineroom.testing.suite import test_conformance, test_lifecycle
from engineroom_fastdeploy import FastDeployEngine

from .conftest import standin, target_of

__all__ = ["test_conformance", "test_lifecycle"]


@pytest.fixture
def target(engine: FastDeployEngine) -> Target:
    return target_of(engine)


@pytest.fixture(params=["2.3", "2.6"])
def lifecycle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lifecycle]:
    with standin(request.param, tmp_path) as make:

        def make_broken() -> Engine:
            return make(FASTDEPLOY_PYTHON="/nonexistent/python", FASTDEPLOY_VERSION=request.param)

        yield Lifecycle(lambda: make(ENGINE_HANG_TIMEOUT="20"), make_broken, kill)


async def kill(engine: Engine) -> None:
    assert isinstance(engine, FastDeployEngine)
    async with await engine.upstream.request("POST", "/standin/die") as response:
        assert response.status == 200
