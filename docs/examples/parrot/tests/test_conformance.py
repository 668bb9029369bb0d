"""What engineroom's kit asks of every engine."""

import pytest
from engineroom_parrot import ParrotEngine

from engineroom.plugins import open_engine
from engineroom.settings import Environment
from engineroom.testing import Expectations, Lifecycle
from engineroom.testing.suite import *  # noqa: F403


def make() -> ParrotEngine:
    return open_engine(Environment.of({"ENGINE": "parrot"}))


async def kill(engine: ParrotEngine) -> None:
    engine.die("a cat came by")


@pytest.fixture(scope="module")
def lifecycle() -> Lifecycle:
    return Lifecycle(make, kill=kill)


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    return Expectations(max_model_len=4096, running_metric="parrot_running")
