"""What engineroom's kit asks of every engine."""

import pytest
from engineroom_narrator import NarratorEngine

from engineroom.plugins import open_engine
from engineroom.settings import Environment
from engineroom.testing import Expectations, Lifecycle
from engineroom.testing.suite import *  # noqa: F403


def make(**settings: str) -> NarratorEngine:
    return open_engine(Environment.of({"ENGINE": "narrator", **settings}))


async def kill(engine: NarratorEngine) -> None:
    with pytest.raises(ConnectionError):
        await engine.upstream.post("/standin/die", {})


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    def quick() -> NarratorEngine:
        return make(ENGINE_HANG_TIMEOUT="20")  # It is noticed after a tenth of that to hang.

    return Lifecycle(quick, lambda: make(NARRATOR_PYTHON="/no/such/python"), kill)


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    return Expectations(max_model_len=4096, running_metric="narrator_running")
