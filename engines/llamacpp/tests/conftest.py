"""Real llama.cpp with the small real model, started once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from llamacpp_made import make

from engineroom.testing import Expectations, Target, engine_target
from engineroom_llamacpp import LlamaCppEngine

MODEL = "SmolLM2-135M-Instruct"


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[LlamaCppEngine]:
    engine = make()
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture(scope="session")
def target(engine: LlamaCppEngine) -> Target:
    expectations = Expectations(
        model=MODEL, max_model_len=2048, running_metric="llamacpp:requests_processing", fields={"temperature": 0}
    )
    return engine_target(engine, expectations)
