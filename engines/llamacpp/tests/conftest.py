"""Real llama.cpp with the small real model, started once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from llamacpp_made import in_so_many_words, make

from engineroom.testing import Expectations, Target, engine_target, running
from engineroom_llamacpp import LlamaCppEngine


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[LlamaCppEngine]:
    async with running(make()) as engine:
        yield engine


def target_of(engine: LlamaCppEngine) -> Target:
    """What a test talks to: greedy answers, unless it asks otherwise."""
    metric = "llamacpp:requests_processing"
    expectations = Expectations(
        max_model_len=2048,
        running_metric=metric,
        fields={"temperature": 0},
        saying=in_so_many_words,
    )
    return engine_target(engine, expectations)


@pytest.fixture(scope="session")
def target(engine: LlamaCppEngine) -> Target:
    return target_of(engine)
